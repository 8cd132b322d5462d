//! A buffer's reservation: the fences of all who use it, and the lock under
//! which its memory changes hands.
//!
//! The usage classes and their order are the kernel's (`dma_resv_usage`): a
//! query for one class returns that class and all before it, so that waiting
//! for readers includes writers, and nobody waits for bookkeeping.
//!
//! Under the same lock importers come and go, and revocations and moves begin
//! and end (`life`), so that of two who come at the same time one sees the
//! other. Several reservations are locked together in the order of their
//! numbers ([`Locked`]).

mod life;
mod locked;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub use life::Life;
pub(crate) use life::{Begun, Drained, Record};
pub use locked::{Locked, lock_all};

use crate::fence::{self, Fence, Outcome};
use crate::reservation::life::State;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, wait_until};
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
#[derive(Debug)]
pub struct Reservation(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Never used twice; several reservations are locked in its order.
    number: u64,
    state: Mutex<State>,
    /// How often the memory was about to be taken away, and then was: twice for
    /// each revocation. Read without the lock.
    cuts: AtomicU64,
    /// Counts whatever somebody may wait for. Its lock is the innermost.
    pulse: Mutex<u64>,
    beat: Condvar,
}

impl Default for Reservation {
    fn default() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self(Arc::new(Shared {
            number: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            state: Mutex::default(),
            cuts: AtomicU64::new(0),
            pulse: Mutex::default(),
            beat: Condvar::new(),
        }))
    }
}

impl Shared {
    fn pulse(&self) -> MutexGuard<'_, u64> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for a change.
    fn beat(&self) {
        *self.pulse() += 1;
        self.beat.notify_all();
    }

    /// Waits for the first change since `seen`. `false`: the deadline passed.
    fn wait_since(&self, seen: u64, deadline: Option<Instant>) -> bool {
        let mut pulse = self.pulse();
        while *pulse == seen {
            match wait_until(&self.beat, &self.pulse, pulse, deadline) {
                Some(again) => pulse = again,
                None => return false,
            }
        }
        true
    }
}

impl Reservation {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, or the push of one fence.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `self` woken when a fence is signalled.
    fn watch(&self, fences: &[Fence]) {
        for fence in fences {
            let shared: Weak<Shared> = Arc::downgrade(&self.0);
            fence.on_signal(move |_| {
                if let Some(shared) = shared.upgrade() {
                    shared.beat();
                }
            });
        }
    }

    /// Grows by one when a revocation begins, and by one when it cuts off.
    pub(crate) fn cuts(&self) -> u64 {
        self.0.cuts.load(Ordering::Acquire)
    }

    /// Adds work that uses the buffer and returns the fences that were pending
    /// before and that this work must wait for. One step, so that of two who
    /// add at the same time one waits for the other.
    pub fn add(&self, fence: Fence, direction: Direction) -> Vec<Fence> {
        self.lock().add(fence, direction)
    }

    /// Adds a fence in a class of its own choice, waiting for nothing.
    pub fn add_as(&self, fence: Fence, usage: Usage) {
        self.lock().add_as(fence, usage);
    }

    /// The pending fences of `up_to` and of the classes before it: a snapshot.
    pub fn pending(&self, up_to: Usage) -> Vec<Fence> {
        self.lock().pending(up_to)
    }

    /// Waits for the fences of `up_to` and of the classes before it that are
    /// pending now. Failed work is waited for like any other.
    pub fn wait(&self, up_to: Usage, limit: Duration) -> Result<(), WaitTimeout> {
        wait_all(&self.pending(up_to), limit).map(|_| ())
    }

    /// One fence that is signalled when work in `direction` need wait for
    /// nobody any more, as things are now.
    pub fn ready(&self, direction: Direction) -> Fence {
        Fence::merge("ready", &self.pending(Usage::blocking(direction)))
    }
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
