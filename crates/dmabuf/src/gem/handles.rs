//! How many objects share each GEM handle of one open device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// The handles of one open device, each with what is known of it (`T`) and the
/// number of its shares.
///
/// The lock is held across the kernel's calls that give out or close a handle
/// that others may have: otherwise an import could be given the very handle that
/// somebody is closing.
#[derive(Debug)]
pub(super) struct Handles<T> {
    open: Mutex<HashMap<u32, Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    shares: u64,
    known: Arc<T>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
        }
    }
}

impl<T> Handles<T> {
    /// Takes a share in the handle that `import` gets from the kernel, which
    /// may be one that is there already. `describe` says what is known of a new
    /// one; if it fails, `close` gives the handle back.
    pub(super) fn import(
        &self,
        import: impl FnOnce() -> Result<u32>,
        describe: impl FnOnce() -> Result<T>,
        close: impl FnOnce(u32),
    ) -> Result<(u32, Arc<T>)> {
        let mut open = self.lock();
        let handle = import()?;
        if let Some(entry) = open.get_mut(&handle) {
            entry.shares += 1;
            return Ok((handle, Arc::clone(&entry.known)));
        }
        match describe() {
            Ok(known) => Ok((handle, insert(&mut open, handle, known))),
            Err(e) => {
                close(handle);
                Err(e)
            }
        }
    }

    /// Takes the first share in a handle that the kernel has just made.
    pub(super) fn created(&self, handle: u32, known: T) -> Arc<T> {
        insert(&mut self.lock(), handle, known)
    }

    /// Takes another share in a handle of which the caller has one.
    pub(super) fn share(&self, handle: u32) {
        if let Some(entry) = self.lock().get_mut(&handle) {
            entry.shares += 1;
        }
    }

    /// Gives a share back; `close` is called with the last.
    pub(super) fn release(&self, handle: u32, close: impl FnOnce(u32)) {
        let mut open = self.lock();
        let Some(entry) = open.get_mut(&handle) else {
            debug_assert!(false, "handle {handle} was released too often");
            return;
        };
        entry.shares -= 1;
        if entry.shares == 0 {
            open.remove(&handle);
            close(handle);
        }
    }

    /// How many handles are open.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// How many shares a handle has.
    pub(super) fn shares(&self, handle: u32) -> u64 {
        self.lock().get(&handle).map_or(0, |entry| entry.shares)
    }

    // Each change is one insert, remove or assignment.
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Entry<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert<T>(open: &mut HashMap<u32, Entry<T>>, handle: u32, known: T) -> Arc<T> {
    let known = Arc::new(known);
    let entry = Entry {
        shares: 1,
        known: Arc::clone(&known),
    };
    open.insert(handle, entry);
    known
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::error::Error;

    /// A kernel's table: one handle per buffer, counted once.
    #[derive(Default)]
    struct Kernel {
        handles: Mutex<BTreeMap<u32, u32>>,
        next: Mutex<u32>,
    }

    impl Kernel {
        fn import(&self, buffer: u32) -> u32 {
            let mut handles = self.handles.lock().unwrap();
            if let Some((&handle, _)) = handles.iter().find(|(_, of)| **of == buffer) {
                return handle;
            }
            let mut next = self.next.lock().unwrap();
            // The lowest free number, as an IDR gives out: numbers come back.
            *next = (1..).find(|n| !handles.contains_key(n)).unwrap();
            handles.insert(*next, buffer);
            *next
        }

        fn close(&self, handle: u32) {
            let closed = self.handles.lock().unwrap().remove(&handle);
            assert!(closed.is_some(), "handle {handle} was closed twice");
        }

        fn buffer_of(&self, handle: u32) -> Option<u32> {
            self.handles.lock().unwrap().get(&handle).copied()
        }
    }

    fn import(handles: &Handles<u32>, kernel: &Kernel, buffer: u32) -> u32 {
        let close = |handle| kernel.close(handle);
        let taken = handles.import(|| Ok(kernel.import(buffer)), || Ok(buffer), close);
        let (handle, known) = taken.unwrap();
        assert_eq!(*known, buffer);
        handle
    }

    proptest! {
        #[test]
        fn a_handle_lives_as_long_as_its_last_share(
            steps in proptest::collection::vec((0u32..4, any::<bool>()), 1..60)
        ) {
            let (handles, kernel) = (Handles::default(), Kernel::default());
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (buffer, take) in steps {
                if take {
                    held.push((import(&handles, &kernel, buffer), buffer));
                } else if let Some(at) = held.iter().position(|(_, of)| *of == buffer) {
                    let (handle, _) = held.swap_remove(at);
                    handles.release(handle, |handle| kernel.close(handle));
                }
                for (handle, of) in &held {
                    prop_assert_eq!(kernel.buffer_of(*handle), Some(*of));
                }
                let distinct: std::collections::BTreeSet<_> = held.iter().collect();
                prop_assert_eq!(handles.len(), distinct.len());
                prop_assert_eq!(kernel.handles.lock().unwrap().len(), distinct.len());
            }
        }
    }

    /// Lets the other threads do something in between.
    fn others() {
        std::thread::sleep(std::time::Duration::from_micros(10));
    }

    #[test]
    fn imports_and_closes_of_many_threads_never_lose_a_handle() {
        let (handles, kernel) = (Handles::default(), Kernel::default());
        let import = |buffer| {
            let from_kernel = || {
                let handle = kernel.import(buffer);
                others();
                Ok(handle)
            };
            let taken = handles.import(from_kernel, || Ok(buffer), |handle| kernel.close(handle));
            taken.unwrap().0
        };
        let close = |handle| {
            others();
            kernel.close(handle);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..100 {
                        let buffer = turn % 2;
                        let handle = import(buffer);
                        others();
                        assert_eq!(kernel.buffer_of(handle), Some(buffer));
                        handles.release(handle, close);
                    }
                });
            }
        });
        assert_eq!(handles.len(), 0);
        assert!(kernel.handles.lock().unwrap().is_empty());
    }

    #[test]
    fn a_handle_that_cannot_be_described_is_given_back() {
        let (handles, kernel) = (Handles::<u32>::default(), Kernel::default());
        let refused = handles.import(
            || Ok(kernel.import(1)),
            || Err(Error::NotADmaBuf),
            |handle| kernel.close(handle),
        );
        assert!(matches!(refused, Err(Error::NotADmaBuf)));
        assert_eq!(handles.len(), 0);
        assert!(kernel.handles.lock().unwrap().is_empty());
    }
}
