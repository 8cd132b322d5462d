//! Every exporter with every importer, in a stock guest that has our GPU (whose
//! driver imports) and QEMU's (whose driver does not).

use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::gem::virtgpu::{self, Param};
use landbridge_dmabuf::gem::{Device, Node};

use crate::checks::Checks;
use crate::desk::machine::{DESK, GPU, PORT, SERVE_IMPORTING, serving};
use crate::exporters::{Dumb, Exporter, Gem, OverMemfd, SystemHeap, Vivid};
use crate::pairs::{gem, v4l2::Camera};
use crate::scenario::{self, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pairs_of_exporter_and_importer_are_as_the_kernel_says",
    claim: "what can be imported is mapped through its exporter, the same bytes and the same buffer",
    storey: Storey::Guest,
    needs: Needs {
        modules: &["virtio-gpu", "vgem", "bochs", "qxl", CAMERAS],
        devices: &[
            PORT,
            GPU,
            scenario::Device::VIRTIO_GPU,
            scenario::Device::BOCHS,
            scenario::Device::QXL,
        ],
        beside: &[serving(SERVE_IMPORTING), DESK],
        qemu: (11, 1),
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

/// A camera that imports, and two that export: by vmalloc and contiguously. One
/// with the contiguous allocator is no importer here: its answers are not the
/// same twice.
const CAMERAS: &str = "vivid n_devs=3 allocators=0,0,1 node_types=0x1,0x1,0x1";

/// What is not tried, with the reason. The camera takes every address for one
/// of ordinary memory: when it lets go of a buffer that was mapped as a
/// device's, `dma_buf_vunmap` finds another mapping than it made, and BUGs.
const NOT_TRIED: [(&str, &str); 1] = [("qxl-bar", "it panics the kernel")];

fn body(checks: &mut Checks) -> Result<()> {
    let camera = Camera::open("vivid", "/dev/video0")?;
    let size = camera.picture();
    let (with_blobs, without) = (virtio_gpu(true)?, virtio_gpu(false)?);
    let importers = [
        ("vgem", Device::of_driver("vgem")?),
        ("virtio-gpu-blob", with_blobs.reopened()?),
        ("virtio-gpu-2d", without.reopened()?),
        ("bochs", Device::of_driver("bochs-drm")?),
    ];
    let exporters: [Box<dyn Exporter>; 10] = [
        Box::new(SystemHeap::open()?),
        Box::new(OverMemfd::small()?),
        Box::new(Vivid::open("vivid-vmalloc", "/dev/video1")?),
        Box::new(Vivid::open("vivid-contig", "/dev/video2")?),
        Box::new(Gem::dumb("vgem", Device::of_driver("vgem")?)),
        Box::new(Gem::blobs("virtio-gpu-blob", with_blobs.device)),
        Box::new(Gem::dumb("virtio-gpu", without.device)),
        Box::new(Gem::dumb("bochs", Device::of_driver("bochs-drm")?)),
        Box::new(Gem::dumb("qxl-ram", Device::of_driver("qxl")?)),
        Box::new(Dumb::surfaces_of_qxl("qxl-bar")?),
    ];
    for (name, device) in &importers {
        for exporter in &exporters {
            gem::run(checks, name, device, exporter.as_ref(), size)
                .with_context(|| format!("{} into {name}", exporter.name()))?;
        }
    }
    for exporter in &exporters {
        let not_tried = NOT_TRIED.iter().find(|(name, _)| *name == exporter.name());
        match not_tried {
            Some((_, reason)) => camera.leave_out(checks, exporter.as_ref(), reason),
            None => camera
                .run(checks, exporter.as_ref(), size)
                .with_context(|| format!("{} into the camera", exporter.name()))?,
        }
    }
    Ok(())
}

/// A virtio-gpu and where its node is.
struct VirtioGpu {
    device: Device,
    node: Node,
}

impl VirtioGpu {
    /// The same device, with handles of its own.
    fn reopened(&self) -> Result<Device> {
        Ok(Device::open(&self.node.path)?)
    }
}

/// The virtio-gpu that has blobs, or the one that hasn't.
fn virtio_gpu(blobs: bool) -> Result<VirtioGpu> {
    for node in Node::list()?.into_iter().filter(|node| node.primary) {
        let device = Device::open(&node.path)?;
        if device.driver() == "virtio_gpu" && (virtgpu::param(&device, Param::Blob)? != 0) == blobs
        {
            return Ok(VirtioGpu { device, node });
        }
    }
    anyhow::bail!("no virtio-gpu with blobs: {blobs}")
}
