//! Memory as ranges: 16 bytes each, neighbours merged, typed by the space that
//! their addresses belong to, so that an address can't reach the wrong bus.

use std::fmt;
use std::marker::PhantomData;

/// A space that addresses belong to.
pub trait Space: Copy + Send + Sync + 'static {
    /// Its name, for people.
    const NAME: &'static str;
}

/// Guest-physical addresses of one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestPhysical {}

impl Space for GuestPhysical {
    const NAME: &'static str = "guest-physical";
}

/// One range of `len` bytes at `start` in the space `S`: never empty, and its
/// end does not wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range<S: Space> {
    start: u64,
    len: u64,
    space: PhantomData<S>,
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
            Some(end) if end > start => Ok(Self {
                start,
                len,
                space: PhantomData,
            }),
            _ => Err(BadRange {
                space: S::NAME,
                start,
                len,
            }),
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
}

impl<S: Space> fmt::Display for Range<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#x}+{:#x}", S::NAME, self.start, self.len)
    }
}

/// A list of ranges in the order of the buffer's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeList<S: Space> {
    ranges: Vec<Range<S>>,
    size: u64,
}

impl<S: Space> Default for RangeList<S> {
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            size: 0,
        }
    }
}

impl<S: Space> RangeList<S> {
    /// Appends a range, merging it with the last one where it continues it.
    /// Fails when the total passes 2^64 bytes.
    pub fn push(&mut self, range: Range<S>) -> Result<(), BadRange> {
        self.size = self.size.checked_add(range.len).ok_or(BadRange {
            space: S::NAME,
            start: range.start,
            len: range.len,
        })?;
        match self.ranges.last_mut() {
            Some(last) if last.end() == range.start => last.len += range.len,
            _ => self.ranges.push(range),
        }
        Ok(())
    }

    /// The merged ranges.
    pub fn as_slice(&self) -> &[Range<S>] {
        &self.ranges
    }

    /// The sum of their lengths in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, len: u64) -> Range<GuestPhysical> {
        Range::new(start, len).unwrap()
    }

    #[test]
    fn a_range_takes_16_bytes() {
        assert_eq!(size_of::<Range<GuestPhysical>>(), 16);
    }

    #[test]
    fn empty_and_wrapping_ranges_can_not_be_made() {
        for (start, len) in [(0, 0), (5, 0), (u64::MAX, 1), (u64::MAX - 4, 6)] {
            assert!(Range::<GuestPhysical>::new(start, len).is_err());
        }
        assert_eq!(range(u64::MAX - 4, 4).end(), u64::MAX);
    }

    #[test]
    fn neighbours_are_merged_in_order_only() {
        let mut list = RangeList::default();
        for (start, len) in [(0x1000, 0x1000), (0x2000, 0x1000), (0, 0x1000)] {
            list.push(range(start, len)).unwrap();
        }
        assert_eq!(list.as_slice(), [range(0x1000, 0x2000), range(0, 0x1000)]);
        assert_eq!(list.size(), 0x3000);
    }

    #[test]
    fn a_list_longer_than_the_address_space_is_refused() {
        let mut list = RangeList::default();
        list.push(range(0, u64::MAX)).unwrap();
        assert!(list.push(range(7, 1)).is_err());
    }
}
