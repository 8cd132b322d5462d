//! The ioctls of VFIO (`include/uapi/linux/vfio.h`). Their numbers carry no
//! size: each structure says its own.
#![expect(
    unsafe_code,
    reason = "ioctl(2) takes a pointer that the kernel follows"
)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::ioctl::{Opcode, opcode};

use crate::error::Result;
use crate::mapping::{Access, View};
use crate::sys::ioctl::{adopt, call, call_with};

const GET_API_VERSION: Opcode = opcode::none(b';', 100);
const CHECK_EXTENSION: Opcode = opcode::none(b';', 101);
const SET_IOMMU: Opcode = opcode::none(b';', 102);
const GROUP_GET_STATUS: Opcode = opcode::none(b';', 103);
const GROUP_SET_CONTAINER: Opcode = opcode::none(b';', 104);
const GROUP_GET_DEVICE_FD: Opcode = opcode::none(b';', 106);
const DEVICE_GET_INFO: Opcode = opcode::none(b';', 107);
const DEVICE_GET_REGION_INFO: Opcode = opcode::none(b';', 108);
const DEVICE_RESET: Opcode = opcode::none(b';', 111);
const DEVICE_FEATURE: Opcode = opcode::none(b';', 117);
const IOMMU_MAP_DMA: Opcode = opcode::none(b';', 113);
const IOMMU_UNMAP_DMA: Opcode = opcode::none(b';', 114);

/// `VFIO_API_VERSION`.
pub(crate) const API_VERSION: i32 = 0;
/// `VFIO_TYPE1v2_IOMMU`.
pub(crate) const TYPE1_V2: usize = 3;
/// `VFIO_GROUP_FLAGS_VIABLE`.
pub(crate) const VIABLE: u32 = 1;
/// `VFIO_DEVICE_FLAGS_RESET`.
pub(crate) const CAN_RESET: u32 = 1;
/// `VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF`.
const GET_DMA_BUF: u32 = 1 << 16 | 11;
const MAP_READ: u32 = 1;
const MAP_WRITE: u32 = 2;

/// `struct vfio_group_status`.
#[repr(C)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

/// `struct vfio_device_info` without what may follow.
#[repr(C)]
#[derive(Default)]
struct DeviceInfo {
    argsz: u32,
    flags: u32,
    num_regions: u32,
    num_irqs: u32,
}

/// `struct vfio_region_info` without what may follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RegionInfo {
    argsz: u32,
    pub(crate) flags: u32,
    index: u32,
    cap_offset: u32,
    pub(crate) size: u64,
    pub(crate) offset: u64,
}

/// `struct vfio_iommu_type1_dma_map`.
#[repr(C)]
struct MapDma {
    argsz: u32,
    flags: u32,
    vaddr: u64,
    iova: u64,
    size: u64,
}

/// `struct vfio_iommu_type1_dma_unmap` without what may follow.
#[repr(C)]
struct UnmapDma {
    argsz: u32,
    flags: u32,
    iova: u64,
    size: u64,
}

fn size_of_u32<T>() -> u32 {
    // None of the structures above comes near the limit.
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

/// Calls an ioctl whose argument is a number.
fn call_number(
    fd: BorrowedFd<'_>,
    name: &'static str,
    opcode: Opcode,
    number: usize,
) -> Result<i32> {
    // SAFETY: VFIO takes this argument as a number; another driver that took it
    // for an address would find nothing in the first page, where all numbers of
    // this module lie.
    unsafe { call(fd, name, opcode, std::ptr::without_provenance_mut(number)) }
}

pub(crate) fn api_version(container: BorrowedFd<'_>) -> Result<i32> {
    call_number(container, "VFIO_GET_API_VERSION", GET_API_VERSION, 0)
}

pub(crate) fn has_extension(container: BorrowedFd<'_>, extension: usize) -> Result<bool> {
    let answer = call_number(
        container,
        "VFIO_CHECK_EXTENSION",
        CHECK_EXTENSION,
        extension,
    );
    Ok(answer? > 0)
}

pub(crate) fn set_iommu(container: BorrowedFd<'_>, kind: usize) -> Result<()> {
    call_number(container, "VFIO_SET_IOMMU", SET_IOMMU, kind).map(drop)
}

pub(crate) fn group_flags(group: BorrowedFd<'_>) -> Result<u32> {
    let mut status = GroupStatus {
        argsz: size_of_u32::<GroupStatus>(),
        flags: 0,
    };
    // SAFETY: the ioctl writes a `vfio_group_status`, flat, of the size it says.
    unsafe {
        call_with(
            group,
            "VFIO_GROUP_GET_STATUS",
            GROUP_GET_STATUS,
            &mut status,
        )
    }?;
    Ok(status.flags)
}

pub(crate) fn group_set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> Result<()> {
    let mut fd = container.as_raw_fd();
    let name = "VFIO_GROUP_SET_CONTAINER";
    // SAFETY: the ioctl reads one int.
    unsafe { call_with(group, name, GROUP_SET_CONTAINER, &mut fd) }.map(drop)
}

pub(crate) fn group_device(group: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let argument = name.as_ptr().cast_mut().cast();
    // SAFETY: the ioctl's argument is the string itself, which it only reads.
    let fd = unsafe {
        call(
            group,
            "VFIO_GROUP_GET_DEVICE_FD",
            GROUP_GET_DEVICE_FD,
            argument,
        )
    }?;
    // SAFETY: the call succeeded, and its return value is a new descriptor.
    Ok(unsafe { adopt(fd) })
}

pub(crate) fn device_flags(device: BorrowedFd<'_>) -> Result<u32> {
    let mut info = DeviceInfo {
        argsz: size_of_u32::<DeviceInfo>(),
        ..DeviceInfo::default()
    };
    // SAFETY: the ioctl writes a `vfio_device_info`, flat, of the size it says.
    unsafe { call_with(device, "VFIO_DEVICE_GET_INFO", DEVICE_GET_INFO, &mut info) }?;
    Ok(info.flags)
}

pub(crate) fn region_info(device: BorrowedFd<'_>, index: u32) -> Result<RegionInfo> {
    let name = "VFIO_DEVICE_GET_REGION_INFO";
    let mut info = RegionInfo {
        argsz: size_of_u32::<RegionInfo>(),
        index,
        ..RegionInfo::default()
    };
    // SAFETY: the ioctl reads and writes a `vfio_region_info`, flat, of the size
    // it says.
    unsafe { call_with(device, name, DEVICE_GET_REGION_INFO, &mut info) }?;
    Ok(info)
}

pub(crate) fn device_reset(device: BorrowedFd<'_>) -> Result<()> {
    call_number(device, "VFIO_DEVICE_RESET", DEVICE_RESET, 0).map(drop)
}

/// `VFIO_DEVICE_FEATURE_DMA_BUF`: ranges (offset, length) of a region as one
/// dma-buf, close-on-exec, read-write.
pub(crate) fn export_dma_buf(
    device: BorrowedFd<'_>,
    region: u32,
    ranges: &[(u64, u64)],
) -> Result<OwnedFd> {
    let name = "VFIO_DEVICE_FEATURE_DMA_BUF";
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let count = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
    // `struct vfio_device_feature` (8 bytes), `struct
    // vfio_device_feature_dma_buf` (16 bytes) and its ranges (16 bytes each), as
    // words of 4 bytes.
    let size = u32::try_from(24 + 16 * ranges.len()).unwrap_or(u32::MAX);
    let mut words = vec![0u64; 3 + 2 * ranges.len()];
    words[0] = pair(size, GET_DMA_BUF);
    words[1] = pair(region, flags.bits());
    words[2] = pair(0, count);
    for (index, (offset, length)) in ranges.iter().enumerate() {
        words[3 + 2 * index] = *offset;
        words[4 + 2 * index] = *length;
    }
    let argument = words.as_mut_ptr().cast();
    // SAFETY: the ioctl reads as many bytes as the structure says, which is what
    // `words` has, 8-byte aligned as the structures are.
    let fd = unsafe { call(device, name, DEVICE_FEATURE, argument) }?;
    // SAFETY: the call succeeded, and its return value is a new descriptor.
    Ok(unsafe { adopt(fd) })
}

/// Two consecutive `u32` fields, as the word that they occupy.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// Pins what `view` shows and maps it at `iova`.
///
/// # Safety
/// The memory is counted as shared, with writers, until the range is unmapped:
/// devices of the container reach it.
pub(crate) unsafe fn map_dma(container: BorrowedFd<'_>, view: View<'_>, iova: u64) -> Result<()> {
    let mut map = MapDma {
        argsz: size_of_u32::<MapDma>(),
        flags: match view.access() {
            Access::ReadOnly => MAP_READ,
            Access::ReadWrite => MAP_READ | MAP_WRITE,
        },
        vaddr: view.address() as u64,
        iova,
        size: view.len() as u64,
    };
    // SAFETY: the ioctl reads a `vfio_iommu_type1_dma_map`. The address in it
    // leads to mapped memory that may be accessed as the flags say, and the
    // caller vouches for what devices do to it.
    unsafe { call_with(container, "VFIO_IOMMU_MAP_DMA", IOMMU_MAP_DMA, &mut map) }.map(drop)
}

pub(crate) fn unmap_dma(container: BorrowedFd<'_>, iova: u64, size: u64) -> Result<()> {
    let mut unmap = UnmapDma {
        argsz: size_of_u32::<UnmapDma>(),
        flags: 0,
        iova,
        size,
    };
    let name = "VFIO_IOMMU_UNMAP_DMA";
    // SAFETY: the ioctl reads and writes a `vfio_iommu_type1_dma_unmap`, flat.
    unsafe { call_with(container, name, IOMMU_UNMAP_DMA, &mut unmap) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// linux-raw-sys has none of VFIO: read from the header, seen on Linux 7.2.
    #[test]
    fn opcodes_and_sizes_are_the_headers() {
        assert_eq!(GET_API_VERSION, 0x3b64);
        assert_eq!(SET_IOMMU, 0x3b66);
        assert_eq!(GROUP_SET_CONTAINER, 0x3b68);
        assert_eq!(GROUP_GET_DEVICE_FD, 0x3b6a);
        assert_eq!(DEVICE_GET_REGION_INFO, 0x3b6c);
        assert_eq!(DEVICE_RESET, 0x3b6f);
        assert_eq!(IOMMU_MAP_DMA, 0x3b71);
        assert_eq!(IOMMU_UNMAP_DMA, 0x3b72);
        assert_eq!(DEVICE_FEATURE, 0x3b75);
        assert_eq!(size_of::<RegionInfo>(), 32);
        assert_eq!(size_of::<MapDma>(), 32);
        assert_eq!(size_of::<UnmapDma>(), 24);
    }
}
