//! VFIO's dma-bufs, asked for wrongly (include/uapi/linux/vfio.h). The device
//! and everything that is asked rightly is `landbridge-dmabuf`'s.
#![expect(unsafe_code, reason = "VFIO's ioctls carry no size in their numbers")]

use std::os::fd::{FromRawFd as _, OwnedFd};

use landbridge_dmabuf::vfio::Device;
use rustix::io::Errno;

use super::ioctl::{Argument, ioctl_unsized};

const DEVICE_FEATURE: u32 = 0x3b75;

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

// SAFETY: integers only, repr(C), without gaps; no field is an address.
unsafe impl Argument for DmaBufFeature {}

/// Asks `device` for a dma-buf, rightly or wrongly.
///
/// # Errors
/// What the kernel says.
///
/// # Panics
/// When `argsz` is more than the structure's size.
pub fn export(device: &Device, mut feature: DmaBufFeature) -> Result<OwnedFd, Errno> {
    assert!(feature.argsz as usize <= size_of::<DmaBufFeature>());
    // SAFETY: the structure says its own size, which is at most the true one,
    // and the kernel reads no further.
    let fd = unsafe { ioctl_unsized(device, DEVICE_FEATURE, &mut feature)? };
    // SAFETY: the ioctl succeeded, so this is a new descriptor that nobody else
    // knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
