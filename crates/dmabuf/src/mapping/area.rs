//! An address range that always shows something.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result, check_aligned};
use crate::mapping::gate::{Gate, Gatekeeper};
use crate::mapping::view::{NEVER, of_region};
use crate::mapping::{Access, Piece, View};
use crate::sys::page::page_size;
use crate::sys::region::Region;

/// What an area is aligned to at least, so that huge pages fit: 2 MiB.
const ALIGN: usize = 2 << 20;

/// An address range that always shows something: zero pages at first, then
/// whatever it is told to. What it shows is replaced in one step, so that
/// whoever accesses it meanwhile, a guest's processor for example, meets the
/// old memory or the new and never a hole.
///
/// Its addresses stay the same until it is dropped.
#[derive(Debug)]
pub struct Area {
    region: Region,
    access: Access,
    shown: Mutex<Shown>,
}

/// What an area shows.
#[derive(Debug)]
pub(super) enum Shown {
    Zeroes,
    /// Pages of a file.
    Pages,
    /// A driver's memory.
    Driver(Again),
    /// What it shows is a gate's affair.
    Gated,
}

/// What it takes to map a piece once more.
#[derive(Debug)]
pub(super) struct Again {
    fd: OwnedFd,
    offset: u64,
}

impl Again {
    pub(super) fn map(&self, area: &Area) -> Result<Region> {
        Region::map(self.fd.as_fd(), self.offset, area.len(), area.access)
    }
}

impl Area {
    /// `len` bytes of zero pages: whole pages, not none.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Misaligned`], [`Error::Sys`] with ENOMEM.
    pub fn new(len: usize, access: Access) -> Result<Self> {
        if len == 0 {
            return Err(Error::Empty { what: "an area" });
        }
        check_aligned("area size", len as u64, page_size())?;
        let area = Self {
            region: Region::reserve(len, ALIGN)?,
            access,
            shown: Mutex::new(Shown::Zeroes),
        };
        area.replace(Region::zeroes(len, access)?)?;
        Ok(area)
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.region.len()
    }

    /// Whether there are none; there always are some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.len() == 0
    }

    /// Where it is in this process, for those who hand it to the kernel: a
    /// memory slot, for example.
    #[must_use]
    pub fn address(&self) -> usize {
        self.region.as_ptr().addr()
    }

    /// What the CPU may do with its bytes.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whatever it shows now, and later. An access waits while a gate is up.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        of_region(&self.region, 0, self.len(), self.access, &NEVER)
    }

    /// Shows `piece`, which is as long as the area.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`], [`Error::Gated`] while a gate is up, and those
    /// of [`Mapping::stitch`](crate::Mapping::stitch). It shows what it showed
    /// then.
    pub fn show(&self, piece: &Piece<'_>) -> Result<()> {
        let (fresh, shown) = self.prepare(piece)?;
        self.change(fresh, shown)
    }

    /// Shows zero pages: nobody reaches through it what it showed.
    ///
    /// # Errors
    /// [`Error::Gated`] while a gate is up; [`Error::Sys`] if the kernel has no
    /// memory. It shows what it showed then.
    pub fn blank(&self) -> Result<()> {
        self.change(Region::zeroes(self.len(), self.access)?, Shown::Zeroes)
    }

    /// Puts up a gate before whatever it shows.
    ///
    /// # Errors
    /// [`Error::Gated`] if one is up, [`Error::Sys`].
    pub fn gate(self: &Arc<Self>, keeper: &Gatekeeper) -> Result<Gate> {
        Gate::raise(self, keeper)
    }

    /// Has a page table entry for every page, writable where the area is: some
    /// drivers give one only when a page is touched, and KVM leaves a guest's
    /// first write there to its instruction emulator, which does not know all
    /// instructions. No byte changes.
    pub fn touch(&self) {
        crate::mapping::view::touch(&self.region, self.access);
    }

    /// A mapping of `piece` that can take the area's place.
    pub(super) fn prepare(&self, piece: &Piece<'_>) -> Result<(Region, Shown)> {
        let len = piece.len_in_memory()?;
        if len != self.len() {
            return Err(Error::LengthMismatch {
                expected: self.len(),
                found: len,
            });
        }
        let nature = piece.check_exact(0)?;
        check_aligned("area address", self.address() as u64, nature.granule)?;
        let fresh = Region::map(piece.fd, piece.offset(), len, self.access)?;
        if nature.size.is_some() && !nature.is_dma_buf {
            return Ok((fresh, Shown::Pages));
        }
        let fd = piece.fd.try_clone_to_owned();
        let fd = fd.map_err(|e| Error::sys("fcntl", e))?;
        let offset = piece.offset();
        Ok((fresh, Shown::Driver(Again { fd, offset })))
    }

    fn change(&self, fresh: Region, shown: Shown) -> Result<()> {
        let mut now = self.shown();
        if matches!(*now, Shown::Gated) {
            return Err(Error::Gated);
        }
        self.replace(fresh)?;
        *now = shown;
        Ok(())
    }

    pub(super) fn replace(&self, fresh: Region) -> Result<()> {
        crate::mapping::view::replace_all(&self.region, fresh)
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn shown(&self) -> MutexGuard<'_, Shown> {
        // Each change is one assignment, after the kernel has made it.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
