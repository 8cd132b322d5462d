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
        let list = self.list;
        let mut ranges = Ranges {
            list,
            run: 0,
            whole: [].iter(),
            index: 0,
            end: 0,
            skip: 0,
            tail: 0,
        };
        let Some(last) = self.len.checked_sub(1).map(|last| self.offset + last) else {
            return ranges;
        };
        let start;
        (ranges.index, start) = list.locate(self.offset);
        ranges.run = list.run_of(ranges.index);
        ranges.skip = self.offset - start;
        if last + 1 == list.size() {
            ranges.end = list.as_slice().len();
        } else {
            let (index, start) = list.locate(last);
            ranges.end = index + 1;
            ranges.tail = list.as_slice()[index].len() - (last + 1 - start);
        }
        ranges
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

/// The ranges of a part of a list, each with the run that it is in. Walking it by
/// `fold` or `for_each` is quickest.
#[derive(Debug, Clone)]
pub struct Ranges<'a, S: Space> {
    list: &'a RangeList<S>,
    /// The run of the last range, and of those in `whole`.
    run: usize,
    /// Those that come next and are not cut.
    whole: std::slice::Iter<'a, Range<S>>,
    /// The one that comes after them, and the one after the last.
    index: usize,
    end: usize,
    /// How many bytes of the first range lie before this part.
    skip: u64,
    /// How many bytes of the last range lie after it.
    tail: u64,
}

impl<'a, S: Space> Ranges<'a, S> {
    fn run(&self) -> &'a Run<S> {
        &self.list.runs()[self.run]
    }

    /// The next range when there are no whole ones: the first one, the last one,
    /// or the first of a run. What follows it may be whole again.
    fn edge(&mut self) -> Option<Step<'a, S>> {
        if self.index == self.end {
            return None;
        }
        while self.index >= self.list.run_end(self.run) {
            self.run += 1;
        }
        let range = self.list.as_slice()[self.index];
        self.index += 1;
        let tail = if self.index == self.end { self.tail } else { 0 };
        let skip = std::mem::take(&mut self.skip);
        let range = Range::within(range.start() + skip, range.len() - skip - tail);
        let to = self.list.run_end(self.run).min(self.end - 1);
        if self.index < to {
            self.whole = self.list.as_slice()[self.index..to].iter();
            self.index = to;
        }
        Some((range, self.run()))
    }
}

impl<'a, S: Space> Iterator for Ranges<'a, S> {
    type Item = Step<'a, S>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.whole.next() {
            Some(range) => Some((*range, self.run())),
            None => self.edge(),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.whole.len() + self.end - self.index;
        (left, Some(left))
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut each: F) -> B {
        let mut sum = init;
        loop {
            let run = self.run();
            let whole = std::mem::take(&mut self.whole);
            sum = whole.fold(sum, |sum, range| each(sum, (*range, run)));
            match self.edge() {
                Some(edge) => sum = each(sum, edge),
                None => return sum,
            }
        }
    }
}

impl<S: Space> ExactSizeIterator for Ranges<'_, S> {}

impl<S: Space> FusedIterator for Ranges<'_, S> {}
