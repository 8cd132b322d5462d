//! The embedded guest's memory: a memfd, and who uses which pages of it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landbridge_dmabuf::{Access, Mapping, Memfd, View, memfd::Options};

use super::space::Space;
use crate::error::{Error, Result};

/// Where the guest's memory starts, guest-physical. Lower addresses are
/// nothing, as hostile tests like it.
pub const RAM_BASE: u64 = 0x1_0000_0000;

/// The unit of allocation in bytes.
pub const PAGE: u64 = 4096;

/// The guest's memory.
#[derive(Debug)]
pub(super) struct Ram {
    memfd: Memfd,
    mapping: Mapping,
    free: Mutex<Space>,
}

impl Ram {
    pub(super) fn new(size: u64) -> Result<Arc<Self>> {
        let memfd = Memfd::create("embedded guest", size, Options::default())?;
        let mapping = Mapping::whole(&memfd, Access::ReadWrite)?;
        Ok(Arc::new(Self {
            memfd,
            mapping,
            free: Mutex::new(Space::new(size)),
        }))
    }

    pub(super) fn size(&self) -> u64 {
        self.mapping.len() as u64
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }

    /// Contiguous pages for `len` bytes, zeroed.
    pub(super) fn allocate(self: &Arc<Self>, len: u64) -> Result<Pages> {
        let full = Error::GuestFull {
            what: "memory",
            asked: len,
        };
        let size = len.max(1).checked_next_multiple_of(PAGE);
        let Some(size) = size else { return Err(full) };
        let Some(start) = self.free().take(size) else {
            return Err(full);
        };
        // From here on the pages are freed by `drop`.
        let pages = Pages {
            ram: Arc::clone(self),
            start,
            len,
            size,
        };
        self.mapping.view().fill(start as usize, size as usize, 0)?;
        Ok(pages)
    }

    fn free(&self) -> MutexGuard<'_, Space> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Contiguous pages of the guest's memory, free again when dropped.
#[derive(Debug)]
pub struct Pages {
    ram: Arc<Ram>,
    start: u64,
    len: u64,
    size: u64,
}

impl Pages {
    /// The guest-physical address of the first byte, page-aligned.
    pub fn address(&self) -> u64 {
        RAM_BASE + self.start
    }

    /// How many bytes were asked for.
    #[expect(clippy::len_without_is_empty, reason = "always at least a page")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The bytes, as the guest's own program reaches them.
    pub fn view(&self) -> View<'_> {
        // The range is within the mapping: it was allocated from it.
        let (start, end) = (self.start as usize, (self.start + self.size) as usize);
        let all = self.ram.mapping.view();
        all.slice(start..end).expect("pages lie within the memory")
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Error::Memory`] outside the pages.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.view().copy_to(offset as usize, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Error::Memory`] outside the pages.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.view().copy_from(offset as usize, bytes)?)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.ram.free().give(self.start, self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_pages_merge_and_come_back_zeroed() {
        let ram = Ram::new(8 * PAGE).unwrap();
        let mut all: Vec<Pages> = (0..8).map(|_| ram.allocate(PAGE).unwrap()).collect();
        assert!(matches!(ram.allocate(1), Err(Error::GuestFull { .. })));
        all[3].write(0, &[0xaa; 64]).unwrap();
        for index in [6, 4, 3, 2] {
            all.remove(index);
        }
        assert!(ram.allocate(4 * PAGE).is_err(), "2, 3 and 4 are neighbours");
        let three = ram.allocate(2 * PAGE + 1).unwrap();
        assert_eq!(three.address(), RAM_BASE + 2 * PAGE);
        assert_eq!(three.read(0, 3 * PAGE as usize).unwrap(), vec![0; 3 * 4096]);
        drop(all);
        drop(three);
        assert_eq!(*ram.free(), Space::new(8 * PAGE));
    }

    #[test]
    fn no_access_leaves_the_pages() {
        let ram = Ram::new(4 * PAGE).unwrap();
        let one = ram.allocate(10).unwrap();
        assert!(one.read(PAGE - 1, 2).is_err());
        assert!(one.write(PAGE, &[1]).is_err());
        assert!(ram.allocate(u64::MAX).is_err());
    }
}
