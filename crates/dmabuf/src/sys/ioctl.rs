//! One safe function for each ioctl.
#![expect(
    unsafe_code,
    reason = "ioctl(2) takes a pointer that the kernel follows"
)]

use std::ffi::{CStr, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

use crate::error::{Error, Result};
use crate::sys::uapi::{self, DmaBufSync, DmaBufSyncFile, SyncFence, SyncFileInfo, UdmabufItem};

/// An ioctl whose argument is a pointer and whose return value matters.
struct ByPointer {
    opcode: Opcode,
    argument: *mut c_void,
}

// SAFETY: `as_ptr` gives the pointer that `call`'s caller vouched for together
// with `opcode`; declaring the ioctl as mutating is the weaker assumption;
// `output_from_ptr` touches no memory.
unsafe impl Ioctl for ByPointer {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<IoctlOutput> {
        Ok(out)
    }
}

/// Issues an ioctl, again whenever a signal or the exporter interrupts it: the
/// dma-buf documentation asks for both.
///
/// # Safety
/// `argument` is valid for whatever any driver does under `opcode`: reads, and
/// writes where the opcode says so, of the struct that the opcode encodes, and
/// of what pointers within it reach.
pub(super) unsafe fn call(
    fd: BorrowedFd<'_>,
    name: &'static str,
    opcode: Opcode,
    argument: *mut c_void,
) -> Result<IoctlOutput> {
    loop {
        let ioctl = ByPointer { opcode, argument };
        // SAFETY: the caller vouches for the pair of opcode and argument.
        match unsafe { rustix::ioctl::ioctl(fd, ioctl) } {
            Ok(out) => return Ok(out),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(e) => return Err(Error::sys(name, e)),
        }
    }
}

/// Issues an ioctl on one flat struct.
///
/// # Safety
/// `opcode` is an ioctl of `T`, and `T` holds no pointer that the kernel
/// follows, unless that is valid for what the kernel does with it.
pub(super) unsafe fn call_with<T>(
    fd: BorrowedFd<'_>,
    name: &'static str,
    opcode: Opcode,
    value: &mut T,
) -> Result<IoctlOutput> {
    // SAFETY: `value` is a live, exclusive `T`, which is what the caller says
    // the opcode reads and writes.
    unsafe { call(fd, name, opcode, (&raw mut *value).cast()) }
}

/// Owns a descriptor that the kernel has just made for us.
///
/// # Safety
/// The kernel returned `fd` from a successful call that installs a new
/// descriptor, and nobody else has taken it.
pub(super) unsafe fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the caller vouches that the descriptor is open and ours alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `DMA_BUF_IOCTL_SYNC`.
pub(crate) fn dma_buf_sync(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let mut sync = DmaBufSync { flags };
    // SAFETY: the ioctl reads a `dma_buf_sync`, which is flat.
    unsafe { call_with(fd, "DMA_BUF_IOCTL_SYNC", uapi::DMA_BUF_SYNC, &mut sync) }.map(drop)
}

/// `DMA_BUF_SET_NAME_B`.
pub(crate) fn dma_buf_set_name(fd: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let argument = name.as_ptr().cast_mut().cast();
    // SAFETY: this opcode's argument is the string itself, which the kernel
    // only reads, up to its terminator or 32 bytes, whichever comes first.
    unsafe { call(fd, "DMA_BUF_SET_NAME", uapi::DMA_BUF_SET_NAME, argument) }.map(drop)
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
pub(crate) fn dma_buf_export_sync_file(fd: BorrowedFd<'_>, flags: u32) -> Result<OwnedFd> {
    let name = "DMA_BUF_IOCTL_EXPORT_SYNC_FILE";
    let mut export = DmaBufSyncFile { flags, fd: -1 };
    // SAFETY: the ioctl reads and writes a `dma_buf_export_sync_file`, flat.
    unsafe { call_with(fd, name, uapi::DMA_BUF_EXPORT_SYNC_FILE, &mut export) }?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor.
    Ok(unsafe { adopt(export.fd) })
}

/// `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`.
pub(crate) fn dma_buf_import_sync_file(
    fd: BorrowedFd<'_>,
    flags: u32,
    sync_file: BorrowedFd<'_>,
) -> Result<()> {
    let name = "DMA_BUF_IOCTL_IMPORT_SYNC_FILE";
    let mut import = DmaBufSyncFile {
        flags,
        fd: sync_file.as_raw_fd(),
    };
    // SAFETY: the ioctl reads a `dma_buf_import_sync_file`, which is flat.
    unsafe { call_with(fd, name, uapi::DMA_BUF_IMPORT_SYNC_FILE, &mut import) }.map(drop)
}

/// `DMA_HEAP_IOCTL_ALLOC`: `len` bytes as a dma-buf, close-on-exec, read-write.
pub(crate) fn heap_alloc(heap: BorrowedFd<'_>, len: u64) -> Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let mut data = uapi::HeapAllocation {
        len,
        fd: 0,
        fd_flags: flags.bits(),
        heap_flags: 0,
    };
    // SAFETY: the ioctl reads and writes a `dma_heap_allocation_data`, flat.
    unsafe {
        call_with(
            heap,
            "DMA_HEAP_IOCTL_ALLOC",
            uapi::DMA_HEAP_ALLOC,
            &mut data,
        )
    }?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor.
    Ok(unsafe { adopt(data.fd.cast_signed()) })
}

/// `UDMABUF_CREATE`.
pub(crate) fn udmabuf_create(device: BorrowedFd<'_>, item: UdmabufItem) -> Result<OwnedFd> {
    let mut create = uapi::UdmabufCreate {
        memfd: item.memfd,
        flags: uapi::UDMABUF_CLOEXEC,
        offset: item.offset,
        size: item.size,
    };
    // SAFETY: the ioctl reads a `udmabuf_create`, which is flat.
    let fd = unsafe { call_with(device, "UDMABUF_CREATE", uapi::UDMABUF_CREATE, &mut create) }?;
    // SAFETY: the call succeeded, and its return value is a new descriptor.
    Ok(unsafe { adopt(fd) })
}

/// `UDMABUF_CREATE_LIST`.
pub(crate) fn udmabuf_create_list(
    device: BorrowedFd<'_>,
    items: &[UdmabufItem],
) -> Result<OwnedFd> {
    let count = u32::try_from(items.len()).map_err(|_| Error::OverLimit {
        what: "items of a udmabuf",
        asked: items.len() as u64,
        limit: u32::MAX.into(),
    })?;
    // Head (8 bytes) and items (24 bytes each), as 8-byte words.
    let mut words = Vec::with_capacity(1 + 3 * items.len());
    words.push(pair(uapi::UDMABUF_CLOEXEC, count));
    for item in items {
        words.extend([pair(item.memfd, item.pad), item.offset, item.size]);
    }
    let argument = words.as_mut_ptr().cast();
    // SAFETY: the ioctl reads a `udmabuf_create_list` and `count` items behind
    // it; `words` holds exactly those, 8-byte aligned as the structs are.
    let fd = unsafe {
        call(
            device,
            "UDMABUF_CREATE_LIST",
            uapi::UDMABUF_CREATE_LIST,
            argument,
        )
    }?;
    // SAFETY: the call succeeded, and its return value is a new descriptor.
    Ok(unsafe { adopt(fd) })
}

/// Two consecutive `u32` fields, as the word that they occupy.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// `SYNC_IOC_MERGE`.
pub(crate) fn sync_merge(
    fd: BorrowedFd<'_>,
    name: [u8; 32],
    other: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    let mut merge = uapi::SyncMerge {
        name,
        fd2: other.as_raw_fd(),
        fence: -1,
        flags: 0,
        pad: 0,
    };
    // SAFETY: the ioctl reads and writes a `sync_merge_data`, which is flat.
    unsafe { call_with(fd, "SYNC_IOC_MERGE", uapi::SYNC_MERGE, &mut merge) }?;
    // SAFETY: the call succeeded, so `fence` is a new descriptor.
    Ok(unsafe { adopt(merge.fence) })
}

/// `SYNC_IOC_FILE_INFO`, with up to `fences.len()` fences. The returned
/// `num_fences` says how many there are; the kernel refuses too short a slice
/// unless it is empty.
pub(crate) fn sync_file_info(fd: BorrowedFd<'_>, fences: &mut [SyncFence]) -> Result<SyncFileInfo> {
    let mut info = SyncFileInfo {
        num_fences: u32::try_from(fences.len()).unwrap_or(u32::MAX),
        fences: fences.as_mut_ptr().expose_provenance() as u64,
        ..SyncFileInfo::default()
    };
    // SAFETY: the ioctl reads and writes a `sync_file_info`; the one pointer in
    // it leads to room for `num_fences` exclusive `sync_fence_info`s, of which
    // every bit pattern is valid.
    unsafe { call_with(fd, "SYNC_IOC_FILE_INFO", uapi::SYNC_FILE_INFO, &mut info) }?;
    Ok(info)
}

/// `SYNC_IOC_SET_DEADLINE`, in `CLOCK_MONOTONIC` nanoseconds.
pub(crate) fn sync_set_deadline(fd: BorrowedFd<'_>, deadline_ns: u64) -> Result<()> {
    let mut deadline = uapi::SyncDeadline {
        deadline_ns,
        pad: 0,
    };
    let name = "SYNC_IOC_SET_DEADLINE";
    // SAFETY: the ioctl reads a `sync_set_deadline`, which is flat.
    unsafe { call_with(fd, name, uapi::SYNC_SET_DEADLINE, &mut deadline) }.map(drop)
}
