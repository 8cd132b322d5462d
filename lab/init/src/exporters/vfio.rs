//! A region of a PCI device in user space
//! (VFIO_DEVICE_FEATURE_DMA_BUF in include/uapi/linux/vfio.h).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::vfio::{Container, Device as PciDevice};
use rustix::io::Errno;

use super::{Access, Exported, Exporter, Refused};
use crate::scenario::Device;
use crate::sys::vfio::{DmaBufFeature, export};

/// Modules that a region needs, and the suite's own.
pub const MODULES: &[&str] = &[
    "vgem",
    "vfio_iommu_type1 allow_unsafe_interrupts=1",
    "vfio-pci",
];

/// Devices that a region needs.
pub const DEVICES: &[Device] = &[Device::IOMMU, Device::RAM_BAR];

/// Vendor and device of the adapter whose BAR is RAM (ivshmem).
pub const RAM_BAR: (&str, &str) = ("0x1af4", "0x1110");
/// The BAR.
pub const BAR: u32 = 2;

/// The BAR of RAM of an emulated device.
#[derive(Debug)]
pub struct Region {
    /// The device.
    pub device: Arc<PciDevice>,
}

impl Region {
    /// Binds the device to vfio-pci and opens it.
    ///
    /// # Errors
    /// When there is no such device or VFIO does not take it.
    pub fn open() -> Result<Self> {
        let device = open_pci(RAM_BAR)?;
        device.switch_memory(true)?;
        Ok(Self {
            device: Arc::new(device),
        })
    }
}

/// Binds the PCI device of this vendor and device to vfio-pci and opens it, in
/// a container of its own.
///
/// # Errors
/// When there is no such device or VFIO does not take it.
pub fn open_pci(id: (&str, &str)) -> Result<PciDevice> {
    let address = bind_pci(id)?;
    Container::open()
        .and_then(|container| container.device(&address))
        .context("opening the device by VFIO")
}

/// Binds the PCI device of this vendor and device to vfio-pci; returns its
/// address.
///
/// # Errors
/// When there is no such device.
pub fn bind_pci(id: (&str, &str)) -> Result<String> {
    let (address, path) = find(id).with_context(|| format!("there is no PCI device {id:?}"))?;
    fs::write(path.join("driver_override"), "vfio-pci").context("driver_override")?;
    if !path.join("driver").exists() {
        fs::write("/sys/bus/pci/drivers_probe", &address).context("drivers_probe")?;
    }
    Ok(address)
}

fn find(id: (&str, &str)) -> Option<(String, PathBuf)> {
    let is = |path: &Path, file: &str, want: &str| {
        fs::read_to_string(path.join(file)).is_ok_and(|text| text.trim() == want)
    };
    fs::read_dir("/sys/bus/pci/devices")
        .ok()?
        .flatten()
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .find(|(_, path)| is(path, "vendor", id.0) && is(path, "device", id.1))
}

impl Exporter for Region {
    fn name(&self) -> &'static str {
        "vfio"
    }

    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        let mut feature = DmaBufFeature::range(BAR, 0, size);
        feature.open_flags = access.open_flags();
        let fd = export(&self.device, feature)?;
        Ok(Exported::new(fd, size).keeping(Arc::clone(&self.device)))
    }

    fn switch(&self, on: bool) -> Result<(), Refused> {
        let switched = self.device.switch_memory(on);
        switched.map_err(|_| Refused::Kernel(Errno::IO))
    }
}
