//! A buffer's reservation: the fences of all who use it.
//!
//! The usage classes and their order are the kernel's (`dma_resv_usage`): a
//! query for one class returns that class and all before it, so that waiting
//! for readers includes writers, and nobody waits for bookkeeping.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fence::{self, Fence, Outcome};
use crate::terms::Direction;

/// What a fence's work does with the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// The memory itself is being moved or cleared: everybody waits.
    Kernel,
    /// Writes.
    Write,
    /// Reads.
    Read,
    /// Holds the memory without implying an order: nobody waits.
    Bookkeep,
}

impl Usage {
    /// The class of work in this direction.
    pub fn of(direction: Direction) -> Self {
        if direction.writes() {
            Self::Write
        } else {
            Self::Read
        }
    }

    /// What work in this direction must wait for: a reader for writers, a
    /// writer for all.
    pub fn blocking(direction: Direction) -> Self {
        if direction.writes() {
            Self::Read
        } else {
            Self::Write
        }
    }
}

/// Time ran out before all fences were signalled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {limit:?} for {waiting_for}")]
pub struct WaitTimeout {
    /// How long the wait was allowed to take.
    pub limit: Duration,
    /// The label of a fence that was still pending.
    pub waiting_for: String,
}

/// The fences of all who use one buffer.
#[derive(Debug, Default)]
pub struct Reservation {
    fences: Mutex<Vec<(Usage, Fence)>>,
}

impl Reservation {
    fn lock(&self) -> MutexGuard<'_, Vec<(Usage, Fence)>> {
        // The list is changed by single pushes and retains.
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds work that uses the buffer and returns the fences that were pending
    /// before and that this work must wait for. One step, so that of two who
    /// add at the same time one waits for the other.
    pub fn add(&self, fence: Fence, direction: Direction) -> Vec<Fence> {
        let mut fences = self.lock();
        fences.retain(|(_, fence)| fence.outcome().is_none());
        let before = select(&fences, Usage::blocking(direction));
        fences.push((Usage::of(direction), fence));
        before
    }

    /// Adds a fence in a class of its own choice, waiting for nothing.
    pub fn add_as(&self, fence: Fence, usage: Usage) {
        let mut fences = self.lock();
        fences.retain(|(_, fence)| fence.outcome().is_none());
        fences.push((usage, fence));
    }

    /// The pending fences of `up_to` and of the classes before it: a snapshot.
    pub fn pending(&self, up_to: Usage) -> Vec<Fence> {
        let mut fences = self.lock();
        fences.retain(|(_, fence)| fence.outcome().is_none());
        select(&fences, up_to)
    }

    /// Waits for the fences of `up_to` and of the classes before it that are
    /// pending now. Failed work is waited for like any other.
    pub fn wait(&self, up_to: Usage, limit: Duration) -> Result<(), WaitTimeout> {
        wait_all(&self.pending(up_to), limit).map(|_| ())
    }
}

fn select(fences: &[(Usage, Fence)], up_to: Usage) -> Vec<Fence> {
    fences
        .iter()
        .filter(|(usage, _)| *usage <= up_to)
        .map(|(_, fence)| fence.clone())
        .collect()
}

/// Waits for all of `fences`, `limit` for all together. `Failed` when any of
/// the work failed.
pub fn wait_all(fences: &[Fence], limit: Duration) -> Result<Outcome, WaitTimeout> {
    wait_all_until(fences, fence::deadline(limit), limit)
}

/// The same, where the wait is part of something that ends at `deadline`.
pub(crate) fn wait_all_until(
    fences: &[Fence],
    deadline: Option<Instant>,
    limit: Duration,
) -> Result<Outcome, WaitTimeout> {
    let mut all = Outcome::Done;
    for fence in fences {
        match fence.wait_until(deadline) {
            Some(Outcome::Done) => {}
            Some(Outcome::Failed) => all = Outcome::Failed,
            None => {
                return Err(WaitTimeout {
                    limit,
                    waiting_for: fence.label().to_owned(),
                });
            }
        }
    }
    Ok(all)
}
