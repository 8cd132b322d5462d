//! Shared memory in this process's address space.
//!
//! Whoever shares the memory — a guest, a device, another process, another
//! thread — may write it at any moment, so nothing here is ever a `&[u8]`:
//! [`View`] is the only way in, and its accesses are volatile.
//!
//! * [`Mapping`]: all or part of one descriptor, or several pieces
//!   [stitched](Mapping::stitch) into one contiguous range.
//! * [`Window`]: an address range where pieces come and go.
//! * [`Area`]: an address range that always shows something, and that a
//!   [`Gate`] can hold everybody off while its memory is moved.
//!
//! **Size.** A mapping past the end of its memory is a SIGBUS on access, so a
//! piece must lie within its memory, and the memory must be unable to shrink:
//! a dma-buf, or a memfd sealed with `F_SEAL_SHRINK`. Memory whose owner is
//! trusted not to shrink it, such as a VMM's guest RAM, is mapped with
//! [`Piece::trusting_owner`].
//!
//! **Offsets.** Several exporters get a partial mmap of a dma-buf wrong (the
//! offset is ignored by some, and misapplied by the GEM shmem helpers), so a
//! part of a dma-buf is mapped whole and viewed in part.

mod area;
mod gate;
mod guarded;
mod piece;
mod view;
mod window;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

pub use area::Area;
pub use gate::{Gate, GateKind, Gatekeeper};
pub(crate) use guarded::Guarded;
pub use piece::Piece;
pub use view::{Rows, Scalar, View};
pub use window::Window;

use crate::error::{Error, Result, check_bounds};
use crate::mapping::piece::Placement;
use crate::sys::page::page_size;
use crate::sys::region::Region;

/// What the CPU may do through a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A shared mapping, unmapped when dropped.
///
/// It tells no exporter of access: a dma-buf's bytes are right only within the
/// brackets of a [`Bracketed`](crate::Bracketed).
#[derive(Debug)]
pub struct Mapping {
    region: Region,
    /// Where the part that was asked for starts within the region.
    start: usize,
    len: usize,
    access: Access,
    /// Whether it was cut off from its memory.
    cut: AtomicBool,
}

impl Mapping {
    /// Maps `len` bytes of `fd` at `offset`, which need not be whole pages.
    ///
    /// # Errors
    /// As for [`Mapping::of`].
    pub fn new(fd: &impl AsFd, offset: u64, len: u64, access: Access) -> Result<Self> {
        Self::of(&Piece::new(fd, offset, len), access)
    }

    /// Maps all of `fd`.
    ///
    /// # Errors
    /// As for [`Mapping::of`].
    pub fn whole(fd: &impl AsFd, access: Access) -> Result<Self> {
        let size = crate::sys::fd::nature(fd.as_fd())?.size.unwrap_or(0);
        Self::new(fd, 0, size, access)
    }

    /// Maps one piece.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::OutOfBounds`] past the end of the memory,
    /// [`Error::CanShrink`] for memory that isn't sealed, [`Error::Sys`] as
    /// `mmap` answers: EACCES for writing through a read-only descriptor,
    /// EINVAL or ENODEV for an exporter that can't be mapped.
    pub fn of(piece: &Piece<'_>, access: Access) -> Result<Self> {
        let placement = piece.place_anywhere()?;
        let Placement { offset, len, skip } = placement;
        Ok(Self {
            region: Region::map(piece.fd, offset, len, access)?,
            start: skip,
            len: piece.len_in_memory()?,
            access,
            cut: AtomicBool::new(false),
        })
    }

    /// Maps several pieces, in order, as one contiguous range: a CPU view of
    /// what is scattered elsewhere. Every piece is whole pages; neighbours of
    /// the same descriptor cost one mapping.
    ///
    /// # Errors
    /// As for [`Mapping::of`]; also [`Error::Misaligned`] for pieces that
    /// aren't whole pages (huge ones, in huge memory) and
    /// [`Error::OffsetNotHonoured`] for part of a dma-buf whose exporter isn't
    /// known to map parts right. [`Error::Sys`] with ENOMEM when the process
    /// has too many mappings (`vm.max_map_count`).
    pub fn stitch(pieces: &[Piece<'_>], access: Access) -> Result<Self> {
        if pieces.is_empty() {
            return Err(Error::Empty {
                what: "a list of pieces",
            });
        }
        let merged = piece::merge(pieces);
        let mut placed = Vec::with_capacity(merged.len());
        let mut end = 0usize;
        let mut align = page_size();
        for piece in &merged {
            let nature = piece.check_exact(end)?;
            align = align.max(nature.granule);
            placed.push((end, *piece, nature));
            end = end
                .checked_add(piece.len_in_memory()?)
                .ok_or_else(|| piece.too_long())?;
        }
        let align = usize::try_from(align).map_err(|_| merged[0].too_long())?;
        let region = Region::reserve(end, align)?;
        for (at, piece, nature) in placed {
            piece.place_into(nature, &region, at, access)?;
        }
        Ok(Self {
            region,
            start: 0,
            len: end,
            access,
            cut: AtomicBool::new(false),
        })
    }

    /// The same, of which `len` bytes are shown: the rest of the last page is
    /// nobody's.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if it is shorter.
    pub fn first(self, len: usize) -> Result<Self> {
        check_bounds(0, len as u64, self.len as u64)?;
        Ok(Self { len, ..self })
    }

    /// Its bytes.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        view::of_region(&self.region, self.start, self.len, self.access, &self.cut)
    }

    /// Its first byte, for the one holder that the ledger of a storage admits.
    pub(crate) fn start(&self) -> *mut u8 {
        self.region.as_ptr().wrapping_add(self.start)
    }

    /// How many bytes it shows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it shows none; it always shows some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the CPU may do through it.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Cuts this process off from the memory: replaces it by private zero
    /// pages, at once and for good. When this returns, no access through this
    /// mapping reaches the memory, and those that go on meet zeros and lose
    /// their writes; nobody crashes, and views answer [`Error::Revoked`].
    ///
    /// # Errors
    /// [`Error::Sys`] if the kernel has no memory for it; the mapping is then
    /// still whole, but its views answer as if it were not.
    pub fn cut(&self) -> Result<()> {
        self.cut.store(true, Ordering::SeqCst);
        view::cut(&self.region, self.access)
    }

    /// Whether it was cut off from its memory.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
