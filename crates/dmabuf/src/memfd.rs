//! Anonymous memory that can be shared by descriptor and can't be pulled away.
//!
//! `memfd_create(2)`. A memfd made here is always sealed against shrinking, so
//! that a mapping of it can't run into SIGBUS, and never sealed against
//! writing, because udmabuf refuses such memory and a device could not fill it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Error, Result, check_aligned, check_bounds};
use crate::identity::Identity;
use crate::spare::check_spare;
use crate::sys;

/// How a memfd is made. The default: ordinary pages, fixed size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Use the machine's default huge pages; the size must then be a multiple
    /// of theirs. udmabuf takes such memory.
    pub huge_pages: bool,
    /// Leave out `F_SEAL_GROW`, so that [`Memfd::grow`] works.
    pub allow_grow: bool,
    /// The NUMA node whose memory it is made of; any, if none is named. Ordinary
    /// pages come from there whenever they are made, and where the node has none
    /// left it is as on a machine without memory. Huge pages are made at once:
    /// such as a hole takes away come back from any node.
    pub node: Option<u32>,
}

/// A sealed memfd.
///
/// It remembers whether its descriptor was ever borrowed ([`AsFd`]): one that
/// wasn't is reachable by nobody else, which is what lets a
/// [`Storage`](crate::Storage) made from it become exclusive.
#[derive(Debug)]
pub struct Memfd {
    fd: OwnedFd,
    name: String,
    exposed: AtomicBool,
}

impl Memfd {
    /// Makes zeroed memory of `size` bytes. `name` is for humans, in procfs.
    ///
    /// # Errors
    /// [`Error::Empty`] for no size, [`Error::Misaligned`] for one that isn't
    /// whole pages, [`Error::BadName`] for a name with a NUL or past 249 bytes,
    /// [`Error::NoNode`] for a NUMA node without memory for this process,
    /// [`Error::Sys`] if the kernel has no memory, the node not enough huge pages,
    /// or hardly a descriptor is left ([`check_spare`]).
    pub fn create(name: &str, size: u64, options: Options) -> Result<Self> {
        check_name(name)?;
        if size == 0 {
            return Err(Error::Empty { what: "a memfd" });
        }
        if let Some(node) = options.node {
            sys::numa::check_node(node)?;
        }
        let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        flags.set(MemfdFlags::HUGETLB, options.huge_pages);
        let fd = create_without_exec(name, flags)?;
        check_spare(&fd)?;
        check_aligned("memfd size", size, sys::fd::nature(fd.as_fd())?.granule)?;
        rustix::fs::ftruncate(&fd, size).map_err(|e| Error::sys("ftruncate", e))?;
        if let Some(node) = options.node {
            bind(fd.as_fd(), size, node, options.huge_pages)?;
        }
        let mut seals = SealFlags::SHRINK | SealFlags::SEAL;
        seals.set(SealFlags::GROW, !options.allow_grow);
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(|e| Error::sys("F_ADD_SEALS", e))?;
        Ok(Self {
            fd,
            name: name.to_owned(),
            exposed: AtomicBool::new(false),
        })
    }

    /// Its size in bytes, as it is now.
    ///
    /// # Errors
    /// [`Error::Sys`] if `fstat` fails.
    pub fn size(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|e| Error::sys("fstat", e))?;
        Ok(stat.st_size.cast_unsigned())
    }

    /// Which memory it is.
    ///
    /// # Errors
    /// [`Error::Sys`] if `fstat` fails.
    pub fn identity(&self) -> Result<Identity> {
        Identity::of(&self.fd)
    }

    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its offsets and lengths must be multiples of, in bytes: the size of
    /// its pages.
    ///
    /// # Errors
    /// [`Error::Sys`] if `fstatfs` fails.
    pub fn granule(&self) -> Result<u64> {
        Ok(sys::fd::nature(self.fd.as_fd())?.granule)
    }

    /// Whether a shared mapping of it may be written: neither its seals nor
    /// how it was opened forbid it.
    ///
    /// # Errors
    /// [`Error::Sys`] if `fcntl` fails.
    pub fn is_writable(&self) -> Result<bool> {
        let sealed = SealFlags::WRITE | SealFlags::FUTURE_WRITE;
        let seals = sys::fd::seals(self.fd.as_fd()).unwrap_or(SealFlags::empty());
        Ok(!seals.intersects(sealed) && sys::fd::is_open_for_writing(self.fd.as_fd())?)
    }

    /// Enlarges it to `size` bytes; the new bytes are zero.
    ///
    /// # Errors
    /// [`Error::Sys`] with EPERM unless made with [`Options::allow_grow`] and
    /// for a size below the present one.
    pub fn grow(&self, size: u64) -> Result<()> {
        check_aligned(
            "memfd size",
            size,
            sys::fd::nature(self.fd.as_fd())?.granule,
        )?;
        rustix::fs::ftruncate(&self.fd, size).map_err(|e| Error::sys("ftruncate", e))
    }

    /// Gives `len` bytes at `offset` back to the system; they read zero again.
    ///
    /// **Trap:** never under a live udmabuf. The udmabuf keeps the old pages
    /// while the memfd gets new ones, and from then on the two silently show
    /// different bytes (observed on Linux 7.2). Do it only where that split is
    /// the point: to sever whoever maps the memfd from the buffer.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Misaligned`] (part of a page would be
    /// zeroed, not freed), [`Error::Empty`], or [`Error::Sys`].
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        let nature = sys::fd::nature(self.fd.as_fd())?;
        if len == 0 {
            return Err(Error::Empty { what: "a hole" });
        }
        check_aligned("hole offset", offset, nature.granule)?;
        check_aligned("hole length", len, nature.granule)?;
        check_bounds(offset, len, nature.size.unwrap_or(0))?;
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&self.fd, mode, offset, len).map_err(|e| Error::sys("fallocate", e))
    }

    /// Its descriptor, for uses within this crate that keep no duplicate.
    pub(crate) fn quietly(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether nobody outside this crate ever saw its descriptor.
    pub(crate) fn is_secluded(&self) -> bool {
        !self.exposed.load(Ordering::Relaxed)
    }
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exposed.store(true, Ordering::Relaxed);
        self.fd.as_fd()
    }
}

impl TryFrom<OwnedFd> for Memfd {
    type Error = Error;

    /// Takes somebody else's memfd, which must be sealed against shrinking:
    /// [`Error::NotAMemfd`] or [`Error::CanShrink`] if not. Files of tmpfs pass
    /// as memfds: they are the same memory.
    fn try_from(fd: OwnedFd) -> Result<Self> {
        let seals = sys::fd::seals(fd.as_fd()).ok_or(Error::NotAMemfd)?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(Error::CanShrink);
        }
        let link = sys::fd::link(fd.as_fd())?;
        let name = link.strip_prefix("/memfd:").unwrap_or(&link);
        Ok(Self {
            name: name.strip_suffix(" (deleted)").unwrap_or(name).to_owned(),
            exposed: AtomicBool::new(true),
            fd,
        })
    }
}

impl From<Memfd> for OwnedFd {
    fn from(memfd: Memfd) -> Self {
        memfd.fd
    }
}

/// `memfd_create` with `MFD_NOEXEC_SEAL` where the kernel has it (since 6.3):
/// a buffer is never a program.
fn create_without_exec(name: &str, flags: MemfdFlags) -> Result<OwnedFd> {
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        result => result,
    }
    .map_err(|e| Error::sys("memfd_create", e))
}

/// The memory of a memfd that is new comes from `node`.
fn bind(fd: BorrowedFd<'_>, size: u64, node: u32, huge_pages: bool) -> Result<()> {
    let len = usize::try_from(size).map_err(|_| Error::OverLimit {
        what: "bytes of memory of a node",
        asked: size,
        limit: usize::MAX as u64,
    })?;
    sys::numa::bind(fd, len, node, huge_pages)
}

fn check_name(name: &str) -> Result<()> {
    let reason = if name.contains('\0') {
        "contains a NUL"
    } else if name.len() > 249 {
        "is longer than 249 bytes"
    } else {
        return Ok(());
    };
    Err(Error::BadName {
        name: name.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests;
