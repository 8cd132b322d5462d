//! One range.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use crate::ranges::Space;

/// One range of `len` bytes at `start` in a space of the kind `S`: never empty,
/// and its end does not wrap. 16 bytes.
pub struct Range<S: Space> {
    start: u64,
    len: u64,
    space: PhantomData<fn() -> S>,
}

/// A range that can't be: it is empty or passes the end of its space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no {space} range of {len:#x} bytes starts at {start:#x}")]
pub struct BadRange {
    /// The space's name.
    pub space: &'static str,
    /// Where it was to start.
    pub start: u64,
    /// How long it was to be.
    pub len: u64,
}

impl<S: Space> Range<S> {
    /// The range of `len` bytes at `start`.
    pub fn new(start: u64, len: u64) -> Result<Self, BadRange> {
        match start.checked_add(len) {
            Some(end) if end > start => Ok(Self::within(start, len)),
            _ => Err(BadRange {
                space: S::NAME,
                start,
                len,
            }),
        }
    }

    /// A range that is part of one that was checked, or two neighbours joined.
    pub(super) fn within(start: u64, len: u64) -> Self {
        debug_assert!(len > 0 && start.checked_add(len).is_some());
        Self {
            start,
            len,
            space: PhantomData,
        }
    }

    /// The first address.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The address after the last.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Whether `next` goes on where this one ends.
    pub(super) fn precedes(&self, next: &Self) -> bool {
        self.end() == next.start && next.end() > self.start
    }
}

// Derived, these would ask the same of `S`, whose values are not in here.
impl<S: Space> Clone for Range<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Space> Copy for Range<S> {}

impl<S: Space> PartialEq for Range<S> {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.len) == (other.start, other.len)
    }
}

impl<S: Space> Eq for Range<S> {}

impl<S: Space> Hash for Range<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.start, self.len).hash(state);
    }
}

impl<S: Space> fmt::Debug for Range<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S: Space> fmt::Display for Range<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#x}+{:#x}", S::NAME, self.start, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranges::{File, GuestPhysical};

    #[test]
    fn a_range_takes_16_bytes() {
        assert_eq!(size_of::<Range<GuestPhysical>>(), 16);
        assert_eq!(size_of::<Range<File>>(), 16);
    }

    #[test]
    fn empty_and_wrapping_ranges_can_not_be_made() {
        for (start, len) in [(0, 0), (5, 0), (u64::MAX, 1), (u64::MAX - 4, 6)] {
            assert!(Range::<GuestPhysical>::new(start, len).is_err());
        }
        let last = Range::<GuestPhysical>::new(u64::MAX - 4, 4).unwrap();
        assert_eq!(last.end(), u64::MAX);
    }
}
