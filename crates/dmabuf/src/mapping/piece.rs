//! A range of some memory that is to be mapped, and the rules for that.
#![expect(unsafe_code, reason = "places a mapping at a fixed address")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::dma_buf::FdInfo;
use crate::error::{Error, Result, check_aligned, check_bounds};
use crate::mapping::Access;
use crate::sys;
use crate::sys::fd::Nature;
use crate::sys::region::Region;

/// Exporters known to map a part of a buffer right. Others have been seen to
/// ignore the offset, or to misapply it.
const HONOURS_OFFSETS: [&str; 2] = ["udmabuf", "system"];

/// `len` bytes of `fd` at `offset`.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'fd> {
    pub(super) fd: BorrowedFd<'fd>,
    offset: u64,
    len: u64,
    trusts_owner: bool,
}

/// The mmap that shows a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) offset: u64,
    pub(super) len: usize,
    /// Where the piece starts within it.
    pub(super) skip: usize,
}

impl<'fd> Piece<'fd> {
    /// `len` bytes at `offset` of memory that can't shrink.
    pub fn new(fd: &'fd impl AsFd, offset: u64, len: u64) -> Self {
        Self {
            fd: fd.as_fd(),
            offset,
            len,
            trusts_owner: false,
        }
    }

    /// The same, of memory whose owner could shrink it and is trusted not to:
    /// the guest RAM of a VMM, a file of ours. If the owner does shrink it, an
    /// access past the new end kills this process with SIGBUS. That is a crash,
    /// not undefined behaviour; it is the owner's to cause.
    ///
    /// Devices, whose size the kernel doesn't tell, are mapped this way too.
    #[must_use]
    pub fn trusting_owner(mut self) -> Self {
        self.trusts_owner = true;
        self
    }

    /// Where it starts in its memory, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How long it is, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is no bytes, which can't be mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len_in_memory(&self) -> Result<usize> {
        usize::try_from(self.len).map_err(|_| self.too_long())
    }

    pub(super) fn too_long(&self) -> Error {
        Error::OverLimit {
            what: "bytes of address space",
            asked: self.len,
            limit: usize::MAX as u64,
        }
    }

    /// Checks what every mapping of this piece needs.
    fn check(&self) -> Result<Nature> {
        if self.len == 0 {
            return Err(Error::Empty { what: "a mapping" });
        }
        let nature = sys::fd::nature(self.fd)?;
        if let Some(size) = nature.size {
            check_bounds(self.offset, self.len, size)?;
        }
        if !nature.cannot_shrink && !self.trusts_owner {
            return Err(Error::CanShrink);
        }
        Ok(nature)
    }

    /// The mmap that shows this piece at an address of the kernel's choice:
    /// for a dma-buf all of it, for the rest whole pages around the piece.
    pub(super) fn place_anywhere(&self) -> Result<Placement> {
        let nature = self.check()?;
        let (start, end) = match nature.size {
            Some(size) if nature.is_dma_buf => (0, size),
            _ => around(self.offset, self.len, nature.granule).ok_or_else(|| self.too_long())?,
        };
        Ok(Placement {
            offset: start,
            len: usize::try_from(end - start).map_err(|_| self.too_long())?,
            skip: usize::try_from(self.offset - start).map_err(|_| self.too_long())?,
        })
    }

    /// Checks that this piece can be mapped exactly, at `at` of some region
    /// that is aligned to its granule.
    pub(super) fn check_exact(&self, at: usize) -> Result<Nature> {
        let nature = self.check()?;
        check_aligned("piece offset", self.offset, nature.granule)?;
        check_aligned("piece length", self.len, nature.granule)?;
        check_aligned("piece position", at as u64, nature.granule)?;
        if nature.is_dma_buf && self.offset != 0 {
            let exporter = FdInfo::of(self.fd)?.exporter;
            if !HONOURS_OFFSETS.contains(&exporter.as_str()) {
                return Err(Error::OffsetNotHonoured { exporter });
            }
        }
        Ok(nature)
    }

    /// Maps this piece at `at` of `region`, in place of what is there. `nature`
    /// is what [`check_exact`](Self::check_exact) found.
    pub(super) fn place_into(
        &self,
        nature: Nature,
        region: &Region,
        at: usize,
        access: Access,
    ) -> Result<()> {
        let len = self.len_in_memory()?;
        check_bounds(at as u64, self.len, region.len() as u64)?;
        if nature.is_plain_file() {
            // SAFETY: the range was just checked to be within the region;
            // regions of this module are only reached through `View`, which
            // never makes a reference to them.
            return unsafe { region.place(at, self.fd, self.offset, len, access) };
        }
        let fresh = Region::map(self.fd, self.offset, len, access)?;
        // SAFETY: as above; `fresh` has the length that was checked.
        unsafe { region.replace(at, fresh) }
    }

    /// Whether `next` goes on where this piece ends.
    fn precedes(&self, next: &Self) -> bool {
        self.fd.as_raw_fd() == next.fd.as_raw_fd()
            && self.trusts_owner == next.trusts_owner
            && self.offset.checked_add(self.len) == Some(next.offset)
            && self.len.checked_add(next.len).is_some()
    }
}

/// Joins pieces that follow each other.
pub(super) fn merge<'fd>(pieces: &[Piece<'fd>]) -> Vec<Piece<'fd>> {
    let mut merged: Vec<Piece<'fd>> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match merged.last_mut() {
            Some(last) if last.precedes(piece) => last.len += piece.len,
            _ => merged.push(*piece),
        }
    }
    merged
}

/// The start and end of whole granules around a range.
fn around(offset: u64, len: u64, granule: u64) -> Option<(u64, u64)> {
    let start = offset - offset % granule;
    let end = offset.checked_add(len)?.checked_next_multiple_of(granule)?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whole_pages_contain_the_range_and_no_page_more(
            offset in any::<u64>(), len in 1u64.., shift in 12u32..31
        ) {
            let granule = 1u64 << shift;
            let wide = u128::from(offset) + u128::from(len);
            match around(offset, len, granule) {
                Some((start, end)) => {
                    prop_assert!(start % granule == 0 && end % granule == 0);
                    prop_assert!(start <= offset && offset - start < granule);
                    prop_assert!(u128::from(end) >= wide);
                    prop_assert!(u128::from(end) - wide < u128::from(granule));
                }
                None => prop_assert!(wide > u128::from(u64::MAX - granule + 1)),
            }
        }
    }
}
