//! Ranges in pieces that a device can take.

use std::iter::FusedIterator;

use crate::ranges::slice::Step;
use crate::ranges::{Range, Ranges, SegmentLimits, Space, Unfit};

/// A part of a list in segments within a device's limits: the same bytes in
/// the same order. After an error there is nothing more.
#[derive(Debug, Clone)]
pub struct Segments<'a, S: Space> {
    ranges: Ranges<'a, S>,
    limits: SegmentLimits,
    /// What is left of the last range.
    rest: Option<Step<'a, S>>,
    failed: bool,
}

impl<'a, S: Space> Segments<'a, S> {
    pub(super) fn new(ranges: Ranges<'a, S>, limits: SegmentLimits) -> Self {
        Self {
            ranges,
            limits,
            rest: None,
            failed: false,
        }
    }

    fn next_range(&mut self) -> Option<Result<Step<'a, S>, Unfit>> {
        if let Some(rest) = self.rest.take() {
            return Some(Ok(rest));
        }
        let next = self.ranges.next()?;
        let admitted = self.limits.admit(next.0.start(), next.0.len());
        self.failed = admitted.is_err();
        Some(admitted.map(|()| next))
    }
}

impl<'a, S: Space> Iterator for Segments<'a, S> {
    type Item = Result<Step<'a, S>, Unfit>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let (range, run) = match self.next_range()? {
            Ok(next) => next,
            Err(unfit) => return Some(Err(unfit)),
        };
        let (start, len) = (range.start(), range.len());
        let taken = self.limits.take(start, len);
        if taken < len {
            self.rest = Some((Range::within(start + taken, len - taken), run));
        }
        Some(Ok((Range::within(start, taken), run)))
    }
}

impl<S: Space> FusedIterator for Segments<'_, S> {}
