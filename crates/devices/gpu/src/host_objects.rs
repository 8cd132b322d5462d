//! Buffers that the host offers a guest by number.
//!
//! RESOURCE_CREATE_BLOB names a host object by its `blob_id`. The
//! specification leaves the numbers to device and driver; here 0 is new plain
//! memory, and every other number is what the program that owns the device
//! offers under it. A driver learns numbers and sizes from its user, who has
//! them from whoever shared the buffer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landbridge_exchange::Buffer;

/// A number that can't name another host object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOffered {
    /// 0 stands for new memory.
    #[error("host object 0 is new memory")]
    Reserved,
    /// Another buffer has the number.
    #[error("host object {0} is another buffer")]
    Taken(u64),
}

/// Buffers that the host offers a guest by number. Clones are the same.
///
/// They outlive resets: they are the host's, not the guest's. What the guest
/// made of one stays when it is withdrawn.
#[derive(Debug, Clone, Default)]
pub struct HostObjects(Arc<Mutex<BTreeMap<u64, Buffer>>>);

impl HostObjects {
    /// Offers a buffer under `blob_id`, or under the lowest number above all
    /// that are in use, and returns the number.
    pub fn offer(&self, blob_id: Option<u64>, buffer: Buffer) -> Result<u64, NotOffered> {
        let mut objects = self.lock();
        let last = objects.keys().next_back().copied().unwrap_or(0);
        let blob_id = match blob_id {
            Some(blob_id) => blob_id,
            None => last.checked_add(1).ok_or(NotOffered::Taken(last))?,
        };
        if blob_id == 0 {
            return Err(NotOffered::Reserved);
        }
        if objects.contains_key(&blob_id) {
            return Err(NotOffered::Taken(blob_id));
        }
        objects.insert(blob_id, buffer);
        Ok(blob_id)
    }

    /// Offers it no longer; the buffer, if there was one.
    pub fn withdraw(&self, blob_id: u64) -> Option<Buffer> {
        self.lock().remove(&blob_id)
    }

    /// The buffer with this number.
    pub fn get(&self, blob_id: u64) -> Option<Buffer> {
        self.lock().get(&blob_id).cloned()
    }

    /// All of them, by number.
    pub fn all(&self) -> Vec<(u64, Buffer)> {
        let objects = self.lock();
        objects
            .iter()
            .map(|(blob_id, buffer)| (*blob_id, buffer.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Buffer>> {
        // Changed by single inserts and removes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
