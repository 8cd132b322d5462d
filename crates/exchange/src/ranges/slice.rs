//! A part of a list, to walk.

use std::iter::FusedIterator;

use crate::ranges::{CpuRanges, File, Range, RangeList, Run, SegmentLimits, Segments, Space};

/// A range and the run that it is in.
pub(super) type Step<'a, S> = (Range<S>, &'a Run<S>);

/// Some of a list's bytes, or all of them. Copying it copies no ranges.
#[derive(Debug)]
pub struct RangeSlice<'a, S: Space> {
    list: &'a RangeList<S>,
    offset: u64,
    len: u64,
}

// Derived, these would ask the same of `S`.
impl<S: Space> Clone for RangeSlice<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Space> Copy for RangeSlice<'_, S> {}

impl<'a, S: Space> RangeSlice<'a, S> {
    /// The caller has checked that the bytes lie within the list.
    pub(super) fn of(list: &'a RangeList<S>, offset: u64, len: u64) -> Self {
        Self { list, offset, len }
    }

    /// How many bytes.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// `len` bytes from byte `offset` of this part on; `None` where they pass
    /// its end.
    pub fn slice(&self, offset: u64, len: u64) -> Option<Self> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| Self::of(self.list, self.offset + offset, len))
    }

    /// The ranges, the first and the last cut to this part.
    pub fn ranges(&self) -> Ranges<'a, S> {
        let (index, start) = match self.len {
            0 => (0, 0),
            _ => self.list.locate(self.offset),
        };
        Ranges {
            list: self.list,
            index,
            skip: self.offset - start.min(self.offset),
            run: self.list.run_of(index),
            left: self.len,
        }
    }

    /// The bytes in segments that a device with these limits can take.
    pub fn segments(&self, limits: SegmentLimits) -> Segments<'a, S> {
        Segments::new(self.ranges(), limits)
    }

    /// A list of its own.
    pub fn to_list(&self) -> RangeList<S> {
        let run = &self.list.runs()[self.ranges().run];
        let mut list = RangeList::new(run.space().clone(), *run.notes());
        // A part of a list is no larger than the list.
        let appended = list.append(*self);
        debug_assert!(appended.is_ok());
        list
    }
}

impl<'a> RangeSlice<'a, File> {
    /// The same, for a CPU to map; `None` where any of it says nothing about a
    /// CPU mapping.
    pub fn cpu(self) -> Option<CpuRanges<'a>> {
        CpuRanges::new(self)
    }
}

/// The ranges of a part of a list, each with the run that it is in.
#[derive(Debug, Clone)]
pub struct Ranges<'a, S: Space> {
    list: &'a RangeList<S>,
    index: usize,
    /// How many bytes of the next range lie before this part.
    skip: u64,
    run: usize,
    left: u64,
}

impl<'a, S: Space> Iterator for Ranges<'a, S> {
    type Item = Step<'a, S>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let whole = self.list.as_slice().get(self.index)?;
        while self.index >= self.list.run_end(self.run) {
            self.run += 1;
        }
        let skip = std::mem::take(&mut self.skip);
        let range = Range::within(whole.start() + skip, (whole.len() - skip).min(self.left));
        self.left -= range.len();
        self.index += 1;
        Some((range, &self.list.runs()[self.run]))
    }
}

impl<S: Space> FusedIterator for Ranges<'_, S> {}
