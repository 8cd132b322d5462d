//! Who has begun and not ended, and what the kernel is told of it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::dma_buf::Direction;
use crate::error::{Error, Result};
use crate::mapping::Access;

/// How often brackets of a mapping began and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Brackets that began.
    pub begun: u64,
    /// Brackets that ended, in whatever way.
    pub ended: u64,
    /// Of those, the ones that were dropped rather than ended.
    pub dropped: u64,
    /// Ends that failed: devices may not have seen what was written.
    pub failed: u64,
    /// Starts that were told to the kernel.
    pub starts: u64,
    /// Ends that were told to the kernel.
    pub ends: u64,
}

impl Counters {
    /// Brackets that are open: with none in use, somebody forgot one.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.begun - self.ended
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} begun, {} ended ({} dropped, {} failed), {} open",
            self.begun,
            self.ended,
            self.dropped,
            self.failed,
            self.open()
        )
    }
}

/// What the counts set off.
pub(super) trait Edges {
    /// Access in `direction` starts; waits for fences.
    fn start(&self, direction: Direction) -> Result<()>;
    /// The last access in `direction` has ended; waits for nothing.
    fn end(&self, direction: Direction) -> Result<()>;
    /// From now on the CPU may do this much.
    fn allow(&self, access: Option<Access>) -> Result<()>;
}

/// Open brackets, by direction.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// All of them: who writes is taken to read.
    readers: u64,
    writers: u64,
    /// Directions whose start the kernel was told, and not yet the end.
    started: (bool, bool),
    counters: Counters,
    /// What the end of a dropped bracket met.
    untold: Option<Error>,
}

/// Begins: counts first, so that nobody else's end is told meanwhile, and tells
/// the kernel without that lock, because it may wait for a device. `starting`
/// lets nobody in until it is told.
pub(super) fn begin(
    counts: &Mutex<Counts>,
    starting: &Mutex<()>,
    edges: &impl Edges,
    direction: Direction,
) -> Result<()> {
    let lock = || counts.lock().unwrap_or_else(PoisonError::into_inner);
    let _starting = starting.lock().unwrap_or_else(PoisonError::into_inner);
    let start = lock().enter(edges, direction)?;
    if let Some(start) = start
        && let Err(e) = edges.start(start)
    {
        // The start's error is the one that matters to the caller.
        let _ = lock().leave(edges, direction);
        return Err(e);
    }
    lock().entered(start);
    Ok(())
}

impl Counts {
    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// Counts a bracket, and says what the kernel must be told of its start.
    ///
    /// Whoever writes reads too, as far as caches go: a line that is written in
    /// part goes back whole, with what the device had in the rest of it. And a
    /// start throws the CPU's lines away, so none is told while a writer's are
    /// dirty: the CPU has the buffer, and its lines are right.
    fn enter(&mut self, edges: &impl Edges, direction: Direction) -> Result<Option<Direction>> {
        if let Some(e) = self.untold.take() {
            return Err(e);
        }
        let (before, dirty) = (self.allowed(), self.writers > 0);
        self.readers += 1;
        self.writers += u64::from(direction.writes());
        if self.allowed() != before
            && let Err(e) = edges.allow(self.allowed())
        {
            self.readers -= 1;
            self.writers -= u64::from(direction.writes());
            return Err(e);
        }
        Ok(if dirty {
            None
        } else {
            Direction::of(true, direction.writes())
        })
    }

    /// A bracket is open, after the kernel was told of this start.
    fn entered(&mut self, start: Option<Direction>) {
        self.counters.begun += 1;
        if let Some(start) = start {
            self.counters.starts += 1;
            self.started.0 = true;
            self.started.1 |= start.writes();
        }
    }

    /// Ends one bracket.
    pub(super) fn end(&mut self, edges: &impl Edges, direction: Direction) -> Result<()> {
        self.counters.ended += 1;
        let left = self.leave(edges, direction);
        self.counters.failed += u64::from(left.is_err());
        left
    }

    /// Ends one bracket whose holder can't be told how that went.
    pub(super) fn end_dropped(&mut self, edges: &impl Edges, direction: Direction) {
        self.counters.dropped += 1;
        if let Err(e) = self.end(edges, direction) {
            self.untold = Some(e);
        }
    }

    fn leave(&mut self, edges: &impl Edges, direction: Direction) -> Result<()> {
        let before = self.allowed();
        self.readers -= 1;
        self.writers -= u64::from(direction.writes());
        let reads_end = self.readers == 0 && self.started.0;
        let writes_end = self.writers == 0 && self.started.1;
        let told = match Direction::of(reads_end, writes_end) {
            None => Ok(()),
            Some(over) => {
                self.started.0 &= !reads_end;
                self.started.1 &= !writes_end;
                self.counters.ends += 1;
                edges.end(over)
            }
        };
        if self.allowed() != before {
            let taken = edges.allow(self.allowed());
            return told.and(taken);
        }
        told
    }

    /// What the CPU may do with the brackets that are open.
    fn allowed(&self) -> Option<Access> {
        match (self.readers, self.writers) {
            (0, _) => None,
            (_, 0) => Some(Access::ReadOnly),
            _ => Some(Access::ReadWrite),
        }
    }
}

#[cfg(test)]
mod tests;
