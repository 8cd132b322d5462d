//! Buffers of DRM devices: a dumb buffer of every card that gives them, and a host
//! blob of every virtio-gpu that has them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use landbridge_dmabuf::gem::virtgpu::{self, BlobMemory, BlobRequest};
use landbridge_dmabuf::gem::{Device, Node};
use landbridge_dmabuf::{DmaBuf, Error};
use landbridge_inspect::probe::Sample;

/// 64 KiB at four bytes a pixel.
const SIDE: u32 = 128;
const BYTES: u64 = 64 << 10;
const BITS: u32 = 32;

/// A primary node before it is a device of ours.
struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}

/// One sample for each card, and one more for each virtio-gpu.
pub(super) fn samples() -> Vec<Sample> {
    match Node::list() {
        Ok(nodes) => {
            let cards = nodes.iter().filter(|node| node.primary);
            cards.flat_map(|card| of_card(&card.path)).collect()
        }
        Err(error) => vec![Sample::new("cards", None, Err(error))],
    }
}

fn of_card(path: &Path) -> Vec<Sample> {
    let node = path.file_name().unwrap_or_default().display();
    let device = match open(path) {
        Ok(device) => device,
        Err(error) => return vec![Sample::new(format!("{node}"), None, Err(error))],
    };
    let driver = Some(device.driver());
    let name = device.driver();
    let what = format!("dumb buffer of {node} ({name})");
    let mut samples = vec![Sample::new(what, driver, dumb(&device))];
    if name == "virtio_gpu" {
        let what = format!("host blob of {node} ({name})");
        samples.push(Sample::new(what, driver, host_blob(&device)));
    }
    samples
}

fn open(path: &Path) -> Result<Device, io::Error> {
    let card = Card(File::options().read(true).write(true).open(path)?);
    // Whoever opens a card that has no master becomes it; the next compositor wants it.
    let _ = drm::Device::release_master_lock(&card);
    Device::from_fd(card.0.into()).map_err(io::Error::other)
}

fn dumb(device: &Device) -> Result<DmaBuf, Error> {
    // The dma-buf keeps the memory.
    device.create_dumb(SIDE, SIDE, BITS)?.object.export()
}

fn host_blob(device: &Device) -> Result<DmaBuf, Error> {
    virtgpu::create_blob(device, &BlobRequest::shared(BlobMemory::Host3d, BYTES))?.export()
}
