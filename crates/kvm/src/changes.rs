//! Whether anything changed under a processor while it ran.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest that a processor waits before it is run again and asks anew.
const PATIENCE: Duration = Duration::from_millis(100);

/// Counts changes of what slots show: those that began and those that ended.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    counts: Mutex<Counts>,
    ended: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    begun: u64,
    ended: u64,
}

/// A change that is under way, until dropped.
#[derive(Debug)]
pub(crate) struct Change<'a>(&'a Changes);

/// What had changed when a processor was about to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen(u64);

impl Changes {
    pub(crate) fn begin(&self) -> Change<'_> {
        self.lock().begun += 1;
        Change(self)
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen(self.lock().ended)
    }

    /// Whether a change was under way at any moment since then. Where one still
    /// is, waits for the end of some, but not for long.
    pub(crate) fn any_since(&self, seen: Seen) -> bool {
        let counts = self.lock();
        if counts.begun == seen.0 {
            return false;
        }
        if counts.ended != counts.begun {
            let before = counts.ended;
            let _ = self
                .ended
                .wait_timeout_while(counts, PATIENCE, |counts| counts.ended == before);
        }
        true
    }

    /// Ends a change that was begun and forgotten.
    pub(crate) fn end(&self) {
        self.lock().ended += 1;
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Each change is one addition.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_overlaps_a_run_counts() {
        let changes = Changes::default();
        drop(changes.begin());
        let seen = changes.seen();
        assert!(!changes.any_since(seen), "it had ended before");
        let change = changes.begin();
        assert!(changes.any_since(seen), "it is under way");
        let during = changes.seen();
        drop(change);
        assert!(changes.any_since(seen), "it began and ended since");
        assert!(changes.any_since(during), "it ended since");
        assert!(!changes.any_since(changes.seen()));
    }
}
