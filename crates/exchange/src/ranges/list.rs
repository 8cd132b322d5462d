//! A list of ranges.

use std::fmt;

use crate::ranges::{BadRange, Notes, Range, RangeSlice, Space, WrongSpace};

/// Every how many ranges a list notes down which byte they start at.
const MARK: usize = 512;

/// Ranges that follow each other in a list, of one space and of which the same
/// is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Run<S: Space> {
    space: S,
    notes: Notes,
    /// The index of its first range.
    first: usize,
}

impl<S: Space> Run<S> {
    /// The space of its addresses.
    pub fn space(&self) -> &S {
        &self.space
    }

    /// What is said of its ranges.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }
}

/// A list of ranges in the order of the buffer's bytes: 16 bytes a range, and
/// a little more a [`Run`].
#[derive(Clone, PartialEq)]
pub struct RangeList<S: Space> {
    ranges: Vec<Range<S>>,
    /// Never empty; each starts where the one before ends, perhaps at once.
    runs: Vec<Run<S>>,
    /// The byte at which range `MARK * i` starts.
    marks: Vec<u64>,
    size: u64,
}

impl<S: Space + Default> Default for RangeList<S> {
    fn default() -> Self {
        Self::new(S::default(), Notes::default())
    }
}

impl<S: Space> RangeList<S> {
    /// An empty list; what is pushed is in `space`, and `notes` is said of it.
    pub fn new(space: S, notes: Notes) -> Self {
        let run = Run {
            space,
            notes,
            first: 0,
        };
        Self {
            ranges: Vec::new(),
            runs: vec![run],
            marks: Vec::new(),
            size: 0,
        }
    }

    /// From now on, what is pushed is in `space`, and `notes` is said of it.
    pub fn begin_run(&mut self, space: S, notes: Notes) {
        let first = self.ranges.len();
        let last = self.last_run();
        if last.space == space && last.notes == notes {
            return;
        }
        if last.first == first {
            // Nothing was pushed to it; the run before may go on.
            self.runs.pop();
            match self.runs.last() {
                Some(before) if before.space == space && before.notes == notes => return,
                _ => {}
            }
        }
        self.runs.push(Run {
            space,
            notes,
            first,
        });
    }

    /// Appends a range, merging it with the last one where it continues it.
    /// Fails when the total passes 2^64 bytes.
    pub fn push(&mut self, range: Range<S>) -> Result<(), BadRange> {
        let size = self.size.checked_add(range.len()).ok_or(BadRange {
            space: S::NAME,
            start: range.start(),
            len: range.len(),
        })?;
        let run_is_new = self.last_run().first == self.ranges.len();
        match self.ranges.last_mut() {
            Some(last) if !run_is_new && last.precedes(&range) => {
                *last = Range::within(last.start(), last.len() + range.len());
            }
            _ => {
                if self.ranges.len().is_multiple_of(MARK) {
                    self.marks.push(self.size);
                }
                self.ranges.push(range);
            }
        }
        self.size = size;
        Ok(())
    }

    /// Appends what `slice` shows.
    pub fn append(&mut self, slice: RangeSlice<'_, S>) -> Result<(), BadRange> {
        for (range, run) in slice.ranges() {
            self.begin_run(run.space.clone(), run.notes);
            self.push(range)?;
        }
        Ok(())
    }

    /// The merged ranges.
    pub fn as_slice(&self) -> &[Range<S>] {
        &self.ranges
    }

    /// The runs, in order: one that is empty if nothing was pushed.
    pub fn runs(&self) -> &[Run<S>] {
        &self.runs
    }

    /// The sum of the ranges' lengths in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether there is no range.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many bytes the list itself takes.
    pub fn footprint(&self) -> usize {
        size_of_val(&*self.ranges) + size_of_val(&*self.runs) + size_of_val(&*self.marks)
    }

    /// The whole list, to walk.
    pub fn all(&self) -> RangeSlice<'_, S> {
        RangeSlice::of(self, 0, self.size)
    }

    /// `len` bytes from byte `offset` on; `None` where they pass the end.
    pub fn slice(&self, offset: u64, len: u64) -> Option<RangeSlice<'_, S>> {
        let end = offset.checked_add(len)?;
        (end <= self.size).then(|| RangeSlice::of(self, offset, len))
    }

    /// The list as one of `space` alone: no address leaves for a device or a
    /// file that it does not belong to.
    pub fn only(&self, space: &S) -> Result<RangeSlice<'_, S>, WrongSpace> {
        match self.runs.iter().find(|run| run.space != *space) {
            None => Ok(self.all()),
            Some(run) => Err(WrongSpace {
                have: format!("{:?}", run.space),
                want: format!("{space:?}"),
            }),
        }
    }

    /// The index of the range that byte `offset` lies in, and the byte that it
    /// starts at. `offset` is less than the size.
    pub(super) fn locate(&self, offset: u64) -> (usize, u64) {
        let mark = self.marks.partition_point(|start| *start <= offset) - 1;
        let (mut index, mut start) = (mark * MARK, self.marks[mark]);
        while start + self.ranges[index].len() <= offset {
            start += self.ranges[index].len();
            index += 1;
        }
        (index, start)
    }

    /// The index of the run that the range at `index` is in.
    pub(super) fn run_of(&self, index: usize) -> usize {
        self.runs.partition_point(|run| run.first <= index) - 1
    }

    /// Where the run after run `run` starts.
    pub(super) fn run_end(&self, run: usize) -> usize {
        self.runs.get(run + 1).map_or(usize::MAX, |next| next.first)
    }

    fn last_run(&self) -> &Run<S> {
        // `new` makes one, and only `begin_run` takes one away, for another.
        &self.runs[self.runs.len() - 1]
    }
}

impl<S: Space> fmt::Debug for RangeList<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeList")
            .field("runs", &self.runs)
            .field("ranges", &self.ranges)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
