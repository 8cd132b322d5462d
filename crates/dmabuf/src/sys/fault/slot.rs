//! One watched range, read by a signal handler that may take no lock.
//!
//! A slot is used again and again, while handlers of other threads read it for
//! faults of their own: one that took the start of one range and the length of
//! the next would put zeros over memory that nobody watches. So a slot counts its
//! uses, and a range is only believed when the count was the same before and
//! after (a sequence lock whose readers don't wait). The feature `model` has loom
//! try it in all orders that the memory model allows.

#[cfg(feature = "model")]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
#[cfg(not(feature = "model"))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Room for one watched range.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// How often it was taken and freed: odd while it is taken.
    turns: AtomicUsize,
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

/// A watched range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Slot {
    pub(super) fn is_free(&self) -> bool {
        // Acquire: what the last one did is over.
        self.turns.load(Ordering::Acquire).is_multiple_of(2)
    }

    /// Watches `range`. Called by one at a time, for a slot that is free.
    pub(super) fn take(&self, range: Range) {
        let turns = self.turns.load(Ordering::Relaxed);
        // Whoever sees any of what follows also sees that the turn before is over.
        fence(Ordering::Release);
        self.lost.store(false, Ordering::Relaxed);
        self.len.store(range.len, Ordering::Relaxed);
        self.start.store(range.start, Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(1), Ordering::Release);
    }

    /// Watches no longer. Called once, by who took it.
    pub(super) fn free(&self) {
        self.turns.fetch_add(1, Ordering::Release);
    }

    /// What is watched, unless that is just changing. Takes no lock.
    pub(super) fn range(&self) -> Option<Range> {
        let turns = self.turns.load(Ordering::Acquire);
        let range = Range {
            start: self.start.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let same = self.turns.load(Ordering::Relaxed) == turns;
        (same && !turns.is_multiple_of(2)).then_some(range)
    }

    /// The memory of the range went away.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

impl Range {
    pub(super) fn contains(self, address: usize) -> bool {
        (self.start..self.start.saturating_add(self.len)).contains(&address)
    }
}

#[cfg(all(test, feature = "model"))]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    const SHORT: Range = Range {
        start: 0x1000,
        len: 1,
    };
    const LONG: Range = Range {
        start: 0x2000,
        len: 9,
    };

    #[test]
    fn a_range_is_never_made_of_two() {
        loom::model(|| {
            let slot = Arc::new(Slot::default());
            let handler = {
                let slot = Arc::clone(&slot);
                thread::spawn(move || {
                    let range = slot.range();
                    let whole = [None, Some(SHORT), Some(LONG)];
                    assert!(whole.contains(&range), "{range:x?}");
                })
            };
            slot.take(SHORT);
            slot.free();
            slot.take(LONG);
            // Its own faults find it.
            assert_eq!(slot.range(), Some(LONG));
            handler.join().unwrap();
        });
    }

    #[test]
    fn a_new_watch_has_lost_nothing() {
        loom::model(|| {
            let slot = Arc::new(Slot::default());
            slot.take(SHORT);
            let other = {
                let slot = Arc::clone(&slot);
                thread::spawn(move || {
                    slot.lose();
                    assert!(slot.lost());
                    slot.free();
                })
            };
            if slot.is_free() {
                slot.take(LONG);
                assert!(!slot.lost());
            }
            other.join().unwrap();
        });
    }
}
