//! Fences: a point in somebody's work that others can wait for.
//!
//! The semantics are those of the kernel's `dma_fence`: a fence is signalled
//! exactly once, with success or an error, and stays signalled. Whoever gives
//! up its [`FenceSignaller`] without a word has failed: a fence never hangs.
//!
//! - `merge`: many as one; `event`: one as a descriptor for an event loop;
//! - `sync_file`: the kernel's fences as ours.

mod event;
mod merge;
mod sync_file;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, wait_until};

/// How the work behind a fence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The work is done.
    Done,
    /// The work failed or was given up; the bytes may be half written.
    Failed,
}

/// When a wait of at most `limit` ends: never, where the clock can't count so
/// far.
pub(crate) fn deadline(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

type Callback = Box<dyn FnOnce(Outcome) + Send>;

enum State {
    Pending {
        callbacks: Vec<Callback>,
        /// By when somebody wants the result.
        wanted: Option<Instant>,
    },
    Signalled(Outcome),
}

struct Shared {
    label: String,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere can't leave the state half changed: each change is
        // one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A point in somebody's work. Clones are the same fence.
#[derive(Clone)]
pub struct Fence(Arc<Shared>);

/// The one who signals a [`Fence`].
#[must_use = "a signaller that is dropped fails its fence"]
pub struct FenceSignaller(Option<Arc<Shared>>);

impl Fence {
    /// A pending fence and its signaller. The label names the work, for
    /// people: "decode frame 12".
    pub fn new(label: impl Into<String>) -> (Self, FenceSignaller) {
        let shared = Arc::new(Shared {
            label: label.into(),
            state: Mutex::new(State::Pending {
                callbacks: Vec::new(),
                wanted: None,
            }),
            changed: Condvar::new(),
        });
        (Self(Arc::clone(&shared)), FenceSignaller(Some(shared)))
    }

    /// What the fence stands for.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// How the work ended, or `None` while it goes on.
    pub fn outcome(&self) -> Option<Outcome> {
        match *self.0.lock() {
            State::Pending { .. } => None,
            State::Signalled(outcome) => Some(outcome),
        }
    }

    /// Waits until the fence is signalled, at most for `limit`; `None` means
    /// that the time ran out.
    pub fn wait(&self, limit: Duration) -> Option<Outcome> {
        self.wait_until(deadline(limit))
    }

    /// Waits until the fence is signalled, at most until `deadline`.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>) -> Option<Outcome> {
        let mut state = self.0.lock();
        loop {
            if let State::Signalled(outcome) = *state {
                return Some(outcome);
            }
            state = wait_until(&self.0.changed, &self.0.state, state, deadline)?;
        }
    }

    /// Calls `callback` once when the fence is signalled: at once if it is,
    /// else on the signalling thread, with no lock held. A callback that panics
    /// takes those after it along, so it must not.
    pub fn on_signal(&self, callback: impl FnOnce(Outcome) + Send + 'static) {
        let mut state = self.0.lock();
        match &mut *state {
            State::Pending { callbacks, .. } => callbacks.push(Box::new(callback)),
            State::Signalled(outcome) => {
                let outcome = *outcome;
                drop(state);
                callback(outcome);
            }
        }
    }

    /// Says by when the result is wanted, so that whoever does the work can
    /// hurry. A hint: nothing happens at the deadline. Of several the earliest
    /// counts.
    pub fn set_deadline(&self, deadline: Instant) {
        if let State::Pending { wanted, .. } = &mut *self.0.lock() {
            *wanted = Some(wanted.map_or(deadline, |there| there.min(deadline)));
        }
    }

    /// Whether both are the same fence.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence")
            .field("label", &self.0.label)
            .field("outcome", &self.outcome())
            .finish()
    }
}

impl FenceSignaller {
    /// The work is done, or failed.
    pub fn signal(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    /// By when somebody wants the result.
    pub fn deadline(&self) -> Option<Instant> {
        match *self.0.as_ref()?.lock() {
            State::Pending { wanted, .. } => wanted,
            State::Signalled(_) => None,
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        let Some(shared) = self.0.take() else { return };
        let before = std::mem::replace(&mut *shared.lock(), State::Signalled(outcome));
        shared.changed.notify_all();
        if let State::Pending { callbacks, .. } = before {
            for callback in callbacks {
                callback(outcome);
            }
        }
    }
}

impl Drop for FenceSignaller {
    fn drop(&mut self) {
        self.settle(Outcome::Failed);
    }
}

impl fmt::Debug for FenceSignaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FenceSignaller").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_waiter_is_woken_by_the_signal() {
        let (fence, signaller) = Fence::new("work");
        let waiter = {
            let fence = fence.clone();
            thread::spawn(move || fence.wait(LONG))
        };
        signaller.signal(Outcome::Done);
        assert_eq!(waiter.join().unwrap(), Some(Outcome::Done));
        assert_eq!(fence.outcome(), Some(Outcome::Done));
    }

    #[test]
    fn a_wait_ends_with_its_limit() {
        let (fence, _signaller) = Fence::new("work");
        assert_eq!(fence.wait(Duration::ZERO), None);
        assert_eq!(fence.outcome(), None);
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let (fence, signaller) = Fence::new("work");
        assert_eq!(signaller.deadline(), None);
        let now = Instant::now();
        fence.set_deadline(now + LONG);
        fence.set_deadline(now);
        fence.set_deadline(now + LONG);
        assert_eq!(signaller.deadline(), Some(now));
    }

    #[test]
    fn the_longest_limit_is_no_overflow() {
        let (fence, signaller) = Fence::new("work");
        let waiter = {
            let fence = fence.clone();
            thread::spawn(move || fence.wait(Duration::MAX))
        };
        signaller.signal(Outcome::Done);
        assert_eq!(waiter.join().unwrap(), Some(Outcome::Done));
    }

    #[test]
    fn a_signaller_that_is_dropped_has_failed() {
        let (fence, signaller) = Fence::new("work");
        drop(signaller);
        assert_eq!(fence.wait(LONG), Some(Outcome::Failed));
    }

    #[test]
    fn callbacks_run_once_each_whether_they_come_early_or_late() {
        let (fence, signaller) = Fence::new("work");
        let (sender, receiver) = mpsc::channel();
        let early = sender.clone();
        fence.on_signal(move |outcome| early.send(("early", outcome)).unwrap());
        signaller.signal(Outcome::Done);
        fence.on_signal(move |outcome| sender.send(("late", outcome)).unwrap());
        let seen: Vec<_> = receiver.iter().collect();
        assert_eq!(seen, [("early", Outcome::Done), ("late", Outcome::Done)]);
    }

    #[test]
    fn a_callback_may_look_at_its_own_fence() {
        let (fence, signaller) = Fence::new("work");
        let (sender, receiver) = mpsc::channel();
        let same = fence.clone();
        fence.on_signal(move |_| sender.send(same.outcome()).unwrap());
        signaller.signal(Outcome::Failed);
        assert_eq!(receiver.recv().unwrap(), Some(Outcome::Failed));
    }
}
