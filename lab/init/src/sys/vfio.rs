//! A PCI device in user space, and its regions as dma-bufs
//! (include/uapi/linux/vfio.h).
#![expect(unsafe_code, reason = "VFIO's ioctls carry no size in their numbers")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

use super::ioctl::{Argument, ioctl_unsized, ioctl_value};

const SET_IOMMU: u32 = 0x3b66;
const GROUP_SET_CONTAINER: u32 = 0x3b68;
const GROUP_GET_DEVICE_FD: u32 = 0x3b6a;
const DEVICE_GET_REGION_INFO: u32 = 0x3b6c;
const DEVICE_FEATURE: u32 = 0x3b75;

/// `VFIO_TYPE1v2_IOMMU`.
const TYPE1_V2: usize = 3;
/// `VFIO_PCI_CONFIG_REGION_INDEX`.
const CONFIG: u32 = 7;
const PCI_COMMAND: u64 = 4;
const PCI_COMMAND_MEMORY: u8 = 2;

/// `VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF`.
pub const GET_DMA_BUF: u32 = 1 << 16 | 11;

/// `struct vfio_device_feature` with the dma-buf feature's data: room for two
/// ranges.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct DmaBufFeature {
    /// The whole structure's size in bytes.
    pub argsz: u32,
    /// What is asked.
    pub feature: u32,
    /// The region.
    pub region: u32,
    /// `O_CLOEXEC` and an access mode.
    pub open_flags: u32,
    /// Must be 0.
    pub flags: u32,
    /// How many of the ranges count.
    pub nr_ranges: u32,
    /// Offset and length in bytes, each.
    pub ranges: [[u64; 2]; 2],
}

impl DmaBufFeature {
    /// One range of a region.
    #[must_use]
    pub fn range(region: u32, offset: u64, length: u64) -> Self {
        Self {
            // SAFETY of the calls rests on this being the real size.
            argsz: size_of::<Self>() as u32,
            feature: GET_DMA_BUF,
            region,
            open_flags: (libc::O_CLOEXEC | libc::O_RDWR) as u32,
            flags: 0,
            nr_ranges: 1,
            ranges: [[offset, length], [0, 0]],
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct RegionInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    cap_offset: u32,
    size: u64,
    offset: u64,
}

// SAFETY: integers only, repr(C), without gaps; no field is an address.
unsafe impl Argument for DmaBufFeature {}
// SAFETY: as above.
unsafe impl Argument for RegionInfo {}

/// An open device with the container and group that keep it usable.
#[derive(Debug)]
pub struct Device {
    device: File,
    _group: File,
    _container: File,
}

impl Device {
    /// Opens the device at `address` (`0000:00:03.0`), bound to vfio-pci
    /// already, of the group `group`, with its memory switched on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(group: &str, address: &str) -> std::io::Result<Self> {
        let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
        let container = open("/dev/vfio/vfio")?;
        let group = open(&format!("/dev/vfio/{group}"))?;
        let mut number = u32::try_from(container.as_raw_fd()).unwrap_or(u32::MAX);
        // SAFETY: this ioctl takes the address of one int.
        unsafe { ioctl_unsized(&group, GROUP_SET_CONTAINER, &mut number)? };
        ioctl_value(&container, SET_IOMMU, TYPE1_V2)?;
        let name = CString::new(address)?;
        // SAFETY: this ioctl takes the address of a string ended by a zero.
        let device = unsafe {
            libc::ioctl(
                group.as_raw_fd(),
                libc::c_ulong::from(GROUP_GET_DEVICE_FD),
                name.as_ptr(),
            )
        };
        if device < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let device = Self {
            // SAFETY: the ioctl succeeded, so this is a new descriptor that
            // nobody else knows.
            device: unsafe { File::from_raw_fd(device) },
            _group: group,
            _container: container,
        };
        device.switch_memory(true)?;
        Ok(device)
    }

    /// The size of a region in bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn region_size(&self, index: u32) -> Result<u64, Errno> {
        Ok(self.region(index)?.size)
    }

    /// Sets or clears the memory bit of the device's command register.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn switch_memory(&self, on: bool) -> std::io::Result<()> {
        let at = self.region(CONFIG)?.offset + PCI_COMMAND;
        let mut command = [0];
        self.device.read_exact_at(&mut command, at)?;
        command[0] &= !PCI_COMMAND_MEMORY;
        if on {
            command[0] |= PCI_COMMAND_MEMORY;
        }
        self.device.write_all_at(&command, at)
    }

    /// Asks for a dma-buf, rightly or wrongly.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// When `argsz` is more than the structure's size.
    pub fn export(&self, mut feature: DmaBufFeature) -> Result<OwnedFd, Errno> {
        assert!(feature.argsz as usize <= size_of::<DmaBufFeature>());
        // SAFETY: the structure says its own size, which is at most the true
        // one, and the kernel reads no further.
        let fd = unsafe { ioctl_unsized(&self.device, DEVICE_FEATURE, &mut feature)? };
        // SAFETY: the ioctl succeeded, so this is a new descriptor that nobody
        // else knows.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn region(&self, index: u32) -> Result<RegionInfo, Errno> {
        let mut info = RegionInfo {
            argsz: size_of::<RegionInfo>() as u32,
            index,
            ..RegionInfo::default()
        };
        // SAFETY: the structure says its own size.
        unsafe { ioctl_unsized(&self.device, DEVICE_GET_REGION_INFO, &mut info)? };
        Ok(info)
    }
}
