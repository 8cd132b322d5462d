//! A virtio-gpu device and an embedded guest that drives it.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use landbridge_device_gpu::{Gpu, GpuConfig, Image, Mode, Output};
use landbridge_exchange::{Exchange, Limits, Tenant};
use landbridge_protocol_gpu::{BlobFlags, BlobMem};
use landbridge_transport::Link;
use landbridge_transport::guest::gpu::{Blob, NewBlob};
use landbridge_transport::guest::{self, EmbeddedGuest};

use super::screen::Screen;

/// A virtio-gpu device, the guest that drives it, and what they share.
pub struct Machine {
    /// The guest's GPU driver.
    pub gpu: guest::gpu::Gpu,
    /// All buffers of this process.
    pub exchange: Exchange,
    /// Who pays on the host's side.
    pub host: Tenant,
    /// What the scanouts show.
    pub screen: Receiver<Image>,
}

impl Machine {
    /// Starts device and guest. The window has room for two buffers of
    /// `buffer_size` bytes and more; the output is `width` by `height`.
    pub fn start(width: u32, height: u32, buffer_size: u64) -> anyhow::Result<Self> {
        let exchange = Exchange::new();
        let host = Tenant::new("host", Limits::NONE);
        let guest = host.child("guest", Limits::default());
        let window = (4 * buffer_size).next_power_of_two();
        // A display may be smaller than the picture that is scanned out.
        let side = |pixels: u32| pixels.clamp(1, Output::MAX_SIDE);
        let output = Output::new(side(width), side(height))?;
        let config = GpuConfig::new(vec![output], Mode::HostVisible { window }, guest)?;
        let link = Link::new();
        let (display, screen) = Screen::new();
        let device = Gpu::new(
            config,
            exchange.clone(),
            link.memory(),
            link.mapper(),
            Arc::new(display),
        );
        let guest = EmbeddedGuest::start(Arc::new(device), link, guest::Config::default())?;
        Ok(Self {
            gpu: guest::gpu::Gpu::open(Arc::new(guest)),
            exchange,
            host,
            screen,
        })
    }

    /// Allocates host memory through virtio-gpu, to be mapped and shared.
    pub fn create_blob(&self, size: u64) -> landbridge_transport::Result<Blob> {
        self.gpu.create_blob(&NewBlob {
            mem: BlobMem::Host3d,
            flags: BlobFlags::all(),
            blob_id: 0,
            size,
            ctx_id: 0,
            backing: None,
        })
    }
}
