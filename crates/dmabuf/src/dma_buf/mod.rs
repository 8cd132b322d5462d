//! Buffers that the kernel shares between devices: dma-buf.
//!
//! `include/uapi/linux/dma-buf.h`, `Documentation/driver-api/dma-buf.rst`.
//!
//! A [`DmaBuf`] is a descriptor that is known to be one. Everything that can be
//! done with it short of handing the descriptor on is in [`DmaBufOps`], so that
//! a [`Storage`](crate::Storage) can offer that much without giving its memory
//! away.

mod access;
mod fdinfo;
mod fences;

use std::ffi::CString;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::memfd::Memfd;
use crate::sys;
use crate::sys::uapi::NAME_LEN;

pub use access::Direction;
pub use fdinfo::FdInfo;
pub use fences::{FenceUse, Readiness};

/// A dma-buf whose descriptor can be handed on.
///
/// Like [`Memfd`], it remembers whether its descriptor was ever
/// borrowed.
#[derive(Debug)]
pub struct DmaBuf {
    ops: DmaBufOps,
    /// Whether somebody else may have a descriptor of this memory.
    exposed: AtomicBool,
    /// The memfd whose pages they are, where it was kept.
    pages: Option<Memfd>,
}

/// What can be done with a dma-buf without seeing its descriptor.
#[derive(Debug)]
pub struct DmaBufOps {
    fd: OwnedFd,
}

impl DmaBuf {
    /// Owns a descriptor that a dma-buf exporter has just returned. `secluded`
    /// says that nothing else leads to its memory.
    pub(crate) fn adopt(fd: OwnedFd, secluded: bool) -> Self {
        Self {
            ops: DmaBufOps { fd },
            exposed: AtomicBool::new(!secluded),
            pages: None,
        }
    }

    /// Keeps the memfd whose pages they are.
    pub(crate) fn keeping(self, memfd: Memfd) -> Self {
        Self {
            pages: Some(memfd),
            ..self
        }
    }

    /// The memfd whose pages they are, for uses within this crate that keep no
    /// duplicate.
    pub(crate) fn pages(&self) -> Option<BorrowedFd<'_>> {
        self.pages.as_ref().map(Memfd::quietly)
    }

    /// Another descriptor of the same buffer.
    ///
    /// # Errors
    /// [`Error::Sys`] if the process has too many.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = self.as_fd().try_clone_to_owned();
        Ok(Self::adopt(fd.map_err(|e| Error::sys("dup", e))?, false))
    }

    /// Whether nobody outside this crate ever saw a descriptor of this memory.
    pub(crate) fn is_secluded(&self) -> bool {
        !self.exposed.load(Ordering::Relaxed)
    }
}

impl Deref for DmaBuf {
    type Target = DmaBufOps;

    fn deref(&self) -> &DmaBufOps {
        &self.ops
    }
}

impl AsFd for DmaBuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exposed.store(true, Ordering::Relaxed);
        self.ops.fd.as_fd()
    }
}

impl TryFrom<OwnedFd> for DmaBuf {
    type Error = Error;

    /// Takes a descriptor if it is a dma-buf, else [`Error::NotADmaBuf`].
    fn try_from(fd: OwnedFd) -> Result<Self> {
        if !sys::fd::is_dma_buf(fd.as_fd())? {
            return Err(Error::NotADmaBuf);
        }
        Ok(Self::adopt(fd, false))
    }
}

impl From<DmaBuf> for OwnedFd {
    fn from(buffer: DmaBuf) -> Self {
        buffer.ops.fd
    }
}

impl DmaBufOps {
    /// Its size in bytes, which never changes.
    ///
    /// # Errors
    /// [`Error::Sys`] if `lseek` fails.
    pub fn size(&self) -> Result<u64> {
        sys::fd::dma_buf_size(self.fd.as_fd())
    }

    /// Which buffer it is.
    ///
    /// # Errors
    /// [`Error::Sys`] if `fstat` fails.
    pub fn identity(&self) -> Result<Identity> {
        Identity::of(&self.fd)
    }

    /// Whether a mapping through this descriptor may be written: a PRIME
    /// exporter decides it at the first export.
    ///
    /// # Errors
    /// [`Error::Sys`] if `fcntl` fails.
    pub fn is_writable(&self) -> Result<bool> {
        sys::fd::is_open_for_writing(self.fd.as_fd())
    }

    /// Names it, for humans: `/sys/kernel/debug/dma_buf` and procfs show the
    /// name. 31 bytes at most.
    ///
    /// # Errors
    /// [`Error::BadName`] if it is longer or holds a NUL, [`Error::Sys`].
    pub fn set_name(&self, name: &str) -> Result<()> {
        let bad = |reason| Error::BadName {
            name: name.to_owned(),
            reason,
        };
        if name.len() >= NAME_LEN {
            return Err(bad("is longer than 31 bytes"));
        }
        let name = CString::new(name).map_err(|_| bad("contains a NUL"))?;
        sys::ioctl::dma_buf_set_name(self.fd.as_fd(), &name)
    }

    /// What procfs says of it: exporter, name, references.
    ///
    /// # Errors
    /// [`Error::Sys`] if procfs isn't there or can't be read.
    pub fn info(&self) -> Result<FdInfo> {
        FdInfo::of(self.fd.as_fd())
    }

    /// The name of its exporter, such as `udmabuf`, `system` or `drm`.
    ///
    /// # Errors
    /// As for [`DmaBufOps::info`].
    pub fn exporter_name(&self) -> Result<String> {
        Ok(self.info()?.exporter)
    }

    /// The name that somebody gave it, if anybody did.
    ///
    /// # Errors
    /// As for [`DmaBufOps::info`].
    pub fn name(&self) -> Result<Option<String>> {
        Ok(self.info()?.name)
    }

    /// Its descriptor, for uses within this crate that keep no duplicate.
    pub(crate) fn quietly(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memfd::{Memfd, Options};

    #[test]
    fn other_descriptors_are_refused() {
        let memfd = Memfd::create("not a dma-buf", 4096 * 16, Options::default()).unwrap();
        let refused = DmaBuf::try_from(OwnedFd::from(memfd));
        assert!(matches!(refused, Err(Error::NotADmaBuf)));
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let refused = DmaBuf::try_from(OwnedFd::from(socket));
        assert!(matches!(refused, Err(Error::NotADmaBuf)));
    }
}
