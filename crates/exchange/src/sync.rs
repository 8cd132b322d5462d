//! Locks and threads: the standard library's, or those of the model checker,
//! which runs the same code in many orders (feature `model`).
//!
//! Reference counts are always the standard library's: nothing waits for them.

use std::time::Instant;

#[cfg(not(feature = "model"))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
    },
    thread,
};

#[cfg(feature = "model")]
pub(crate) use shuttle::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
    },
    thread,
};

/// Waits for a notification, at most until `deadline`; a wait without one is as
/// long as it takes. `guard` is of `mutex`. Returns `None` when the deadline
/// has passed. Like every wait it may end for no reason.
#[cfg(not(feature = "model"))]
pub(crate) fn wait_until<'a, T>(
    changed: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> Option<MutexGuard<'a, T>> {
    let left = match deadline {
        Some(deadline) => deadline.checked_duration_since(Instant::now())?,
        None => std::time::Duration::MAX,
    };
    let (guard, _) = changed
        .wait_timeout(guard, left)
        .unwrap_or_else(PoisonError::into_inner);
    Some(guard)
}

/// The same where there is no time: a deadline passes whenever the model
/// checker says so.
#[cfg(feature = "model")]
pub(crate) fn wait_until<'a, T>(
    changed: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> Option<MutexGuard<'a, T>> {
    use shuttle::rand::Rng;
    if deadline.is_none() {
        let guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        return Some(guard);
    }
    if shuttle::rand::thread_rng().gen_bool(0.2) {
        return None;
    }
    drop(guard);
    thread::yield_now();
    Some(mutex.lock().unwrap_or_else(PoisonError::into_inner))
}
