//! The ioctls of IOMMUFD (`include/uapi/linux/iommufd.h`) and VFIO's device
//! nodes. Their numbers carry no size: each structure says its own.
#![expect(
    unsafe_code,
    reason = "ioctl(2) takes a pointer that the kernel follows"
)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::ioctl::{Opcode, opcode};

use crate::error::Result;
use crate::mapping::Access;
use crate::sys::ioctl::call_with;

const DESTROY: Opcode = opcode::none(b';', 0x80);
const IOAS_ALLOC: Opcode = opcode::none(b';', 0x81);
const IOAS_UNMAP: Opcode = opcode::none(b';', 0x86);
const IOAS_MAP_FILE: Opcode = opcode::none(b';', 0x8f);
const DEVICE_BIND: Opcode = opcode::none(b';', 118);
const DEVICE_ATTACH: Opcode = opcode::none(b';', 119);

const FIXED_IOVA: u32 = 1;
const WRITEABLE: u32 = 2;
const READABLE: u32 = 4;

/// `struct iommu_destroy`.
#[repr(C)]
struct Destroy {
    size: u32,
    id: u32,
}

/// `struct iommu_ioas_alloc`.
#[repr(C)]
struct Alloc {
    size: u32,
    flags: u32,
    out_ioas_id: u32,
}

/// `struct iommu_ioas_map_file`.
#[repr(C)]
struct MapFile {
    size: u32,
    flags: u32,
    ioas_id: u32,
    fd: i32,
    start: u64,
    length: u64,
    iova: u64,
}

/// `struct iommu_ioas_unmap`.
#[repr(C)]
struct Unmap {
    size: u32,
    ioas_id: u32,
    iova: u64,
    length: u64,
}

/// `struct vfio_device_bind_iommufd` without what may follow.
#[repr(C)]
struct Bind {
    argsz: u32,
    flags: u32,
    iommufd: i32,
    out_devid: u32,
}

/// `struct vfio_device_attach_iommufd_pt` without what may follow.
#[repr(C)]
struct Attach {
    argsz: u32,
    flags: u32,
    /// In: an address space. Out: the page table that was made for it.
    pt_id: u32,
}

fn size_of_u32<T>() -> u32 {
    // None of the structures above comes near the limit.
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

pub(crate) fn destroy(iommufd: BorrowedFd<'_>, id: u32) -> Result<()> {
    let mut destroy = Destroy {
        size: size_of_u32::<Destroy>(),
        id,
    };
    // SAFETY: the ioctl reads an `iommu_destroy`, flat, of the size it says.
    unsafe { call_with(iommufd, "IOMMU_DESTROY", DESTROY, &mut destroy) }.map(drop)
}

pub(crate) fn alloc_ioas(iommufd: BorrowedFd<'_>) -> Result<u32> {
    let mut alloc = Alloc {
        size: size_of_u32::<Alloc>(),
        flags: 0,
        out_ioas_id: 0,
    };
    // SAFETY: the ioctl reads and writes an `iommu_ioas_alloc`, flat, of the
    // size it says.
    unsafe { call_with(iommufd, "IOMMU_IOAS_ALLOC", IOAS_ALLOC, &mut alloc) }?;
    Ok(alloc.out_ioas_id)
}

/// Maps `length` bytes of `file` at `iova`.
///
/// # Safety
/// The memory is counted as shared, with writers, until the range is unmapped:
/// devices of the address space reach it.
pub(crate) unsafe fn map_file(
    iommufd: BorrowedFd<'_>,
    ioas_id: u32,
    file: BorrowedFd<'_>,
    length: u64,
    iova: u64,
    access: Access,
) -> Result<()> {
    let mut map = MapFile {
        size: size_of_u32::<MapFile>(),
        flags: match access {
            Access::ReadOnly => FIXED_IOVA | READABLE,
            Access::ReadWrite => FIXED_IOVA | READABLE | WRITEABLE,
        },
        ioas_id,
        fd: file.as_raw_fd(),
        start: 0,
        length,
        iova,
    };
    // SAFETY: the ioctl reads an `iommu_ioas_map_file`, flat, of the size it
    // says; the caller vouches for what devices do to the file's memory.
    unsafe { call_with(iommufd, "IOMMU_IOAS_MAP_FILE", IOAS_MAP_FILE, &mut map) }.map(drop)
}

pub(crate) fn unmap(iommufd: BorrowedFd<'_>, ioas_id: u32, iova: u64, length: u64) -> Result<()> {
    let mut unmap = Unmap {
        size: size_of_u32::<Unmap>(),
        ioas_id,
        iova,
        length,
    };
    // SAFETY: the ioctl reads and writes an `iommu_ioas_unmap`, flat, of the
    // size it says.
    unsafe { call_with(iommufd, "IOMMU_IOAS_UNMAP", IOAS_UNMAP, &mut unmap) }.map(drop)
}

/// Puts the device of an open node under an IOMMUFD; returns its number there.
pub(crate) fn bind_device(device: BorrowedFd<'_>, iommufd: BorrowedFd<'_>) -> Result<u32> {
    let mut bind = Bind {
        argsz: size_of_u32::<Bind>(),
        flags: 0,
        iommufd: iommufd.as_raw_fd(),
        out_devid: 0,
    };
    // SAFETY: the ioctl reads and writes a `vfio_device_bind_iommufd`, flat, of
    // the size it says.
    unsafe { call_with(device, "VFIO_DEVICE_BIND_IOMMUFD", DEVICE_BIND, &mut bind) }?;
    Ok(bind.out_devid)
}

/// Has a bound device reach what is mapped in an address space, and nothing else.
pub(crate) fn attach_device(device: BorrowedFd<'_>, ioas_id: u32) -> Result<()> {
    let name = "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
    let mut attach = Attach {
        argsz: size_of_u32::<Attach>(),
        flags: 0,
        pt_id: ioas_id,
    };
    // SAFETY: the ioctl reads and writes a `vfio_device_attach_iommufd_pt`,
    // flat, of the size it says.
    unsafe { call_with(device, name, DEVICE_ATTACH, &mut attach) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// linux-raw-sys has none of IOMMUFD: read from the headers.
    #[test]
    fn opcodes_and_sizes_are_the_headers() {
        assert_eq!(DESTROY, 0x3b80);
        assert_eq!(IOAS_ALLOC, 0x3b81);
        assert_eq!(IOAS_UNMAP, 0x3b86);
        assert_eq!(IOAS_MAP_FILE, 0x3b8f);
        assert_eq!(DEVICE_BIND, 0x3b76);
        assert_eq!(DEVICE_ATTACH, 0x3b77);
        assert_eq!(size_of::<Bind>(), 16);
        assert_eq!(std::mem::offset_of!(Bind, out_devid), 12);
        assert_eq!(size_of::<Attach>(), 12);
        assert_eq!(std::mem::offset_of!(Attach, pt_id), 8);
        assert_eq!(size_of::<Destroy>(), 8);
        assert_eq!(size_of::<Alloc>(), 12);
        assert_eq!(size_of::<MapFile>(), 40);
        assert_eq!(size_of::<Unmap>(), 24);
        assert_eq!(std::mem::offset_of!(MapFile, start), 16);
    }

    /// What is not VFIO's refuses, with nothing done.
    #[test]
    fn other_descriptors_refuse() {
        use std::os::fd::AsFd as _;
        let file = std::fs::File::open("/dev/null").unwrap();
        let fd = file.as_fd();
        for error in [
            bind_device(fd, fd).unwrap_err(),
            attach_device(fd, 1).unwrap_err(),
            alloc_ioas(fd).unwrap_err(),
            unmap(fd, 1, 0, 4096).unwrap_err(),
            destroy(fd, 1).unwrap_err(),
        ] {
            assert_eq!(error.errno(), Some(libc::ENOTTY), "{error}");
        }
    }
}
