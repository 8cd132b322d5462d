//! An address range where pieces of memory come and go.
//!
//! This is what a VMM does with a device's host-visible window: it reserves
//! the addresses once, maps what the device asks for, and puts nothing back in
//! its place afterwards. The embedded guest has one.
#![expect(unsafe_code, reason = "replaces mappings at fixed addresses")]

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Error, Result, check_aligned, check_bounds};
use crate::mapping::view::{NEVER, of_region};
use crate::mapping::{Access, Piece, View};
use crate::sys::page::page_size;
use crate::sys::region::Region;

/// What a window is aligned to at least, so that huge pages fit: 2 MiB.
const ALIGN: usize = 2 << 20;

/// A reserved address range; a page is reachable while a piece is mapped there.
///
/// An access holds pieces in place while it lasts, and is refused where there
/// is none, so nobody can crash on a window.
#[derive(Debug)]
pub struct Window {
    region: Region,
    /// By where they start; they don't overlap.
    pieces: RwLock<BTreeMap<usize, Mapped>>,
}

#[derive(Clone, Copy, Debug)]
struct Mapped {
    len: usize,
    access: Access,
}

impl Window {
    /// Reserves `len` bytes of address space, whole pages; no memory.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Misaligned`], [`Error::Sys`] with ENOMEM.
    pub fn reserve(len: usize) -> Result<Self> {
        if len == 0 {
            return Err(Error::Empty { what: "a window" });
        }
        check_aligned("window size", len as u64, page_size())?;
        Ok(Self {
            region: Region::reserve(len, ALIGN)?,
            pieces: RwLock::default(),
        })
    }

    /// How many bytes of addresses it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.region.len()
    }

    /// Whether it has none; it always has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.len() == 0
    }

    /// Maps `piece`, of whole pages, at `at`.
    ///
    /// # Errors
    /// [`Error::Occupied`] where something is mapped already,
    /// [`Error::OutOfBounds`] past the window, and those of
    /// [`Mapping::stitch`](crate::Mapping::stitch).
    pub fn map(&self, at: usize, piece: &Piece<'_>, access: Access) -> Result<()> {
        check_bounds(at as u64, piece.len(), self.len() as u64)?;
        let nature = piece.check_exact(at)?;
        let base = self.region.as_ptr().addr() as u64;
        check_aligned("window address", base, nature.granule)?;
        let len = piece.len_in_memory()?;
        let mut pieces = self.write();
        if let Some(offset) = occupied(&pieces, at, len) {
            return Err(Error::Occupied { offset });
        }
        piece.place_into(nature, &self.region, at, access)?;
        pieces.insert(at, Mapped { len, access });
        Ok(())
    }

    /// Takes away whatever is mapped within `len` bytes at `at`, and returns
    /// how many pieces that were. When this returns, no access through the
    /// window reaches them.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::Occupied`] for a piece that lies only
    /// partly within, and then nothing is taken away: some exporters show wrong
    /// pages once a mapping of theirs is split. [`Error::Sys`] with ENOMEM.
    pub fn unmap(&self, at: usize, len: usize) -> Result<usize> {
        let mut pieces = self.write();
        let within = self.whole_pieces(&pieces, at, len)?;
        for &(start, piece) in &within {
            // SAFETY: pieces lie within the region, as `map` checked, and the
            // region is only reached through `View`, which makes no references.
            unsafe { self.region.vacate(start, piece.len) }?;
            pieces.remove(&start);
        }
        Ok(within.len())
    }

    /// Cuts the window off from whatever is mapped within `len` bytes at `at`,
    /// but leaves private zero pages there until they are unmapped: access goes
    /// on and meets zeros. Returns how many pieces that were.
    ///
    /// # Errors
    /// As for [`Window::unmap`].
    pub fn blank(&self, at: usize, len: usize) -> Result<usize> {
        let pieces = self.write();
        let within = self.whole_pieces(&pieces, at, len)?;
        for &(start, piece) in &within {
            let zeroes = Region::zeroes(piece.len, piece.access)?;
            // SAFETY: as in `unmap`.
            unsafe { self.region.replace(start, zeroes) }?;
        }
        Ok(within.len())
    }

    /// What is mapped: where each piece starts and how long it is, in order.
    #[must_use]
    pub fn mapped(&self) -> Vec<(usize, usize)> {
        let pieces = self.read();
        pieces.iter().map(|(&at, piece)| (at, piece.len)).collect()
    }

    /// Lets `access` at `len` bytes at `at`, which hold still meanwhile: nothing
    /// is mapped or unmapped until it returns. So it must neither do that itself
    /// nor wait for who does. The range may span adjacent pieces; it can be
    /// written if all of them can.
    ///
    /// # Errors
    /// [`Error::Vacant`] where nothing is mapped, [`Error::OutOfBounds`].
    pub fn with<R>(&self, at: usize, len: usize, access: impl FnOnce(View<'_>) -> R) -> Result<R> {
        check_bounds(at as u64, len as u64, self.len() as u64)?;
        let pieces = self.read();
        let allowed = access_to(&pieces, at, len)?;
        Ok(access(of_region(&self.region, at, len, allowed, &NEVER)))
    }

    /// Copies bytes at `at` out, as many as `target` holds.
    ///
    /// # Errors
    /// As for [`Window::with`].
    pub fn copy_to(&self, at: usize, target: &mut [u8]) -> Result<()> {
        self.with(at, target.len(), |view| view.copy_to(0, target))?
    }

    /// Copies `source` in at `at`.
    ///
    /// # Errors
    /// As for [`Window::with`], and [`Error::ReadOnly`].
    pub fn copy_from(&self, at: usize, source: &[u8]) -> Result<()> {
        self.with(at, source.len(), |view| view.copy_from(0, source))?
    }

    /// The pieces within a range that may cut none.
    fn whole_pieces(
        &self,
        pieces: &BTreeMap<usize, Mapped>,
        at: usize,
        len: usize,
    ) -> Result<Vec<(usize, Mapped)>> {
        check_bounds(at as u64, len as u64, self.len() as u64)?;
        let end = at + len;
        let cut = |(&start, piece): (&usize, &Mapped)| {
            let overlaps = start < end && at < start + piece.len;
            let within = at <= start && start + piece.len <= end;
            (overlaps && !within).then_some(start)
        };
        let last_before = pieces.range(..at).next_back();
        let last_within = pieces.range(at..end).next_back();
        match last_before.into_iter().chain(last_within).find_map(cut) {
            Some(offset) => Err(Error::Occupied { offset }),
            None => Ok(pieces.range(at..end).map(|(&k, &v)| (k, v)).collect()),
        }
    }

    // A panic can't leave the table wrong: each change of it is one operation,
    // after the kernel has made the same change.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<usize, Mapped>> {
        self.pieces.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<usize, Mapped>> {
        self.pieces.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first piece that overlaps a range.
fn occupied(pieces: &BTreeMap<usize, Mapped>, at: usize, len: usize) -> Option<usize> {
    let before = pieces.range(..at).next_back();
    before
        .filter(|(start, piece)| *start + piece.len > at)
        .or_else(|| pieces.range(at..at + len).next())
        .map(|(&start, _)| start)
}

/// What may be done with all of a range, which must be mapped without a gap.
fn access_to(pieces: &BTreeMap<usize, Mapped>, at: usize, len: usize) -> Result<Access> {
    let (mut reached, mut access) = (at, Access::ReadWrite);
    while reached < at + len {
        let piece = pieces.range(..=reached).next_back();
        let (start, piece) = piece
            .filter(|(start, piece)| *start + piece.len > reached)
            .ok_or(Error::Vacant { offset: reached })?;
        if piece.access == Access::ReadOnly {
            access = Access::ReadOnly;
        }
        reached = start + piece.len;
    }
    Ok(access)
}

#[cfg(test)]
mod tests;
