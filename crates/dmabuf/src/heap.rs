//! Memory from the kernel's dma-buf heaps: `/dev/dma_heap`,
//! `include/uapi/linux/dma-heap.h`.
//!
//! A heap is the exporter for memory with a property that anonymous memory
//! lacks, such as contiguity. The `system` heap gives ordinary zeroed pages and
//! knows no limit: an allocation is charged to nobody and can exhaust the
//! machine, so callers keep their own quota.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::dma_buf::DmaBuf;
use crate::error::{Error, Result};
use crate::spare::check_spare;
use crate::sys;

/// Where the heaps are.
pub const DIRECTORY: &str = "/dev/dma_heap";

/// An open heap.
#[derive(Debug)]
pub struct Heap {
    device: OwnedFd,
    name: String,
}

impl Heap {
    /// The names of this machine's heaps, sorted; none if it has no heaps.
    ///
    /// # Errors
    /// [`Error::Sys`] if the directory exists but can't be read.
    pub fn list() -> Result<Vec<String>> {
        let entries = match fs::read_dir(DIRECTORY) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::sys("opendir", e)),
        };
        let mut names = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|e| Error::sys("readdir", e))?;
        names.sort();
        Ok(names)
    }

    /// Opens the heap called `name`, such as `system`.
    ///
    /// # Errors
    /// [`Error::BadName`] for a name that is a path, [`Error::NoDevice`] if
    /// there is no such heap, [`Error::Sys`] if it may not be opened.
    pub fn open(name: &str) -> Result<Self> {
        if name.is_empty() || name == ".." || name.contains(['/', '\0']) {
            return Err(Error::BadName {
                name: name.to_owned(),
                reason: "is not the name of a heap",
            });
        }
        Ok(Self {
            device: sys::fd::open_device(&Path::new(DIRECTORY).join(name))?,
            name: name.to_owned(),
        })
    }

    /// The heap's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Allocates a dma-buf of `len` bytes, which the kernel rounds up to pages.
    ///
    /// # Errors
    /// [`Error::Empty`] for no length, [`Error::Sys`] with ENOMEM.
    pub fn allocate(&self, len: u64) -> Result<DmaBuf> {
        if len == 0 {
            return Err(Error::Empty {
                what: "an allocation",
            });
        }
        let fd = sys::ioctl::heap_alloc(self.device.as_fd(), len)?;
        check_spare(&fd)?;
        Ok(DmaBuf::adopt(fd, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_directory() {
        for name in ["", "..", "../kvm", "a/b", "a\0b"] {
            let refused = Heap::open(name);
            assert!(matches!(refused, Err(Error::BadName { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_missing_heap_is_named() {
        let missing = Heap::open("no-such-heap").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "this machine has no /dev/dma_heap/no-such-heap"
        );
    }
}
