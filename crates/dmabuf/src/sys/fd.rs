//! What kind of memory a descriptor names.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, SealFlags, SeekFrom};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::page::page_size;

/// `DMA_BUF_MAGIC` of `include/uapi/linux/magic.h`.
pub(crate) const DMA_BUF_MAGIC: u64 = 0x444d_4142;
/// `HUGETLBFS_MAGIC` of `include/uapi/linux/magic.h`.
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// What decides how a descriptor can be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nature {
    /// Bytes; `None` for devices, whose size the kernel doesn't tell.
    pub(crate) size: Option<u64>,
    /// What offsets and lengths must be multiples of, in bytes.
    pub(crate) granule: u64,
    /// Whether it is a dma-buf.
    pub(crate) is_dma_buf: bool,
    /// Whether the kernel guarantees that it never gets shorter.
    pub(crate) cannot_shrink: bool,
}

impl Nature {
    /// Whether it is a file of ordinary pages, with no driver behind it.
    pub(crate) fn is_plain_file(&self) -> bool {
        !self.is_dma_buf && self.size.is_some() && self.granule == page_size()
    }
}

/// Whether `fd` is a dma-buf: those live on a filesystem of their own.
pub(crate) fn is_dma_buf(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(filesystem(fd)?.0 == DMA_BUF_MAGIC)
}

/// Whether `fd` is a sync_file. Asked of procfs rather than by ioctl, which a
/// stranger's device might take for something else. Every other file's link is
/// a path, or an anonymous inode of another name.
pub(crate) fn is_sync_file(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(link(fd)? == "anon_inode:sync_file")
}

/// What procfs says that `fd` is: a path, or a name in its place.
pub(crate) fn link(fd: BorrowedFd<'_>) -> Result<String> {
    // The thread's own directory: it may have unshared its descriptors.
    let path = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    let link = std::fs::read_link(path).map_err(|e| Error::sys("readlink", e))?;
    Ok(link.to_string_lossy().into_owned())
}

/// The size of a dma-buf in bytes.
pub(crate) fn dma_buf_size(fd: BorrowedFd<'_>) -> Result<u64> {
    rustix::fs::seek(fd, SeekFrom::End(0)).map_err(|e| Error::sys("lseek", e))
}

/// The seals of `fd`; none if it can't have any.
pub(crate) fn seals(fd: BorrowedFd<'_>) -> Option<SealFlags> {
    rustix::fs::fcntl_get_seals(fd).ok()
}

/// Whether writing through `fd` is open to its holder: as it was opened.
pub(crate) fn is_open_for_writing(fd: BorrowedFd<'_>) -> Result<bool> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|e| Error::sys("F_GETFL", e))?;
    Ok(flags & OFlags::RWMODE == OFlags::RDWR)
}

/// Asks the kernel what `fd` is.
pub(crate) fn nature(fd: BorrowedFd<'_>) -> Result<Nature> {
    let (magic, block) = filesystem(fd)?;
    if magic == DMA_BUF_MAGIC {
        return Ok(Nature {
            size: Some(dma_buf_size(fd)?),
            granule: page_size(),
            is_dma_buf: true,
            cannot_shrink: true,
        });
    }
    let stat = rustix::fs::fstat(fd.as_fd()).map_err(|e| Error::sys("fstat", e))?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(Nature {
        size: is_file.then_some(stat.st_size.cast_unsigned()),
        granule: if magic == HUGETLBFS_MAGIC {
            block
        } else {
            page_size()
        },
        is_dma_buf: false,
        cannot_shrink: seals(fd).is_some_and(|seals| seals.contains(SealFlags::SHRINK)),
    })
}

/// The filesystem's magic number and its block size.
fn filesystem(fd: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = rustix::fs::fstatfs(fd).map_err(|e| Error::sys("fstatfs", e))?;
    Ok((stat.f_type.cast_unsigned(), stat.f_bsize.cast_unsigned()))
}

/// Opens a device node. Reading is enough for the ioctls of udmabuf and heaps.
pub(crate) fn open_device(path: &Path) -> Result<OwnedFd> {
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(fd),
        // NXIO and NODEV: a node without its driver.
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Err(Error::NoDevice {
            path: path.to_owned(),
        }),
        Err(e) => Err(Error::sys("open", e)),
    }
}
