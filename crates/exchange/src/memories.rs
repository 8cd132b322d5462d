//! Which memory is cached how: one memory, one caching.
//!
//! The same memory can come to the exchange more than once: a dma-buf that two
//! programs hand over, or pages of a guest that are another device's window.
//! Mapped with two cachings, it would show each user something else; so
//! whoever comes second with another caching is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use landbridge_dmabuf::Identity;

use crate::caching::KnownCaching;
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// The cachings of all memory that has an identity.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memories(Arc<Mutex<BTreeMap<Identity, Users>>>);

#[derive(Debug)]
struct Users {
    caching: KnownCaching,
    count: usize,
}

/// One buffer's entry; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Entry {
    identity: Identity,
    memories: Memories,
}

impl Memories {
    /// Enters memory whose caching is known; refused where it is in use under
    /// another.
    pub(crate) fn enter(&self, identity: Identity, caching: KnownCaching) -> Result<Entry, Error> {
        let mut users = self.lock();
        let user = users.entry(identity).or_insert(Users { caching, count: 0 });
        if user.caching.caching != caching.caching {
            return Err(Error::TwoCachings {
                identity,
                used: user.caching,
                asked: caching,
            });
        }
        user.count += 1;
        Ok(Entry {
            identity,
            memories: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, Users>> {
        // Nothing that can panic runs between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut users = self.memories.lock();
        if let Some(user) = users.get_mut(&self.identity) {
            user.count -= 1;
            if user.count == 0 {
                users.remove(&self.identity);
            }
        }
    }
}
