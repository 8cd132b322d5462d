//! Buffers by UUID.
//!
//! An identity is assigned once, lives as long as its buffer and says nothing
//! about addresses. The registry holds no buffer alive.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Weak;

use uuid::Uuid;

use crate::buffer::{Buffer, Inner};
use crate::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A UUID that can't be a buffer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UuidError {
    /// The nil UUID names nothing.
    #[error("the nil UUID names no buffer")]
    Nil,
    /// Another living buffer has it.
    #[error("another buffer has the UUID {0}")]
    Taken(Uuid),
    /// The buffer has another UUID, for life.
    #[error("the buffer has the UUID {has} and can't become {asked}")]
    Assigned {
        /// The one that it has.
        has: Uuid,
        /// The one that was asked for.
        asked: Uuid,
    },
}

/// Buffers by UUID.
#[derive(Default)]
pub struct Registry {
    buffers: RwLock<HashMap<Uuid, Weak<Inner>>>,
}

impl Registry {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Uuid, Weak<Inner>>> {
        self.buffers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Uuid, Weak<Inner>>> {
        self.buffers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The living buffer with this UUID.
    pub fn lookup(&self, uuid: Uuid) -> Option<Buffer> {
        // The guard is let go before the buffer may be dropped, because a
        // buffer's last drop takes the write lock.
        let found = self.read().get(&uuid).and_then(Weak::upgrade);
        found.map(Buffer)
    }

    /// How many UUIDs are assigned.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether no UUID is assigned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn assign(&self, buffer: &Buffer, asked: Option<Uuid>) -> Result<Uuid, UuidError> {
        if asked.is_some_and(|uuid| uuid.is_nil()) {
            return Err(UuidError::Nil);
        }
        let mut buffers = self.write();
        if let Some(has) = buffer.uuid() {
            return match asked {
                Some(asked) if asked != has => Err(UuidError::Assigned { has, asked }),
                _ => Ok(has),
            };
        }
        let uuid = asked.unwrap_or_else(Uuid::new_v4);
        // A buffer that is being dropped may not have been forgotten yet.
        if buffers
            .get(&uuid)
            .is_some_and(|other| other.strong_count() > 0)
        {
            return Err(UuidError::Taken(uuid));
        }
        buffers.insert(uuid, buffer.downgrade());
        buffer.set_uuid(uuid);
        Ok(uuid)
    }

    /// Forgets a buffer that is no more, unless its UUID is another's already.
    pub(crate) fn forget(&self, uuid: Uuid, buffer: *const Inner) {
        if let Entry::Occupied(entry) = self.write().entry(uuid)
            && std::ptr::eq(entry.get().as_ptr(), buffer)
        {
            entry.remove();
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;
    use crate::exchange::Exchange;
    use crate::exporters::fake::FakeExporter;
    use crate::tenant::{Limits, Tenant};

    const UUID: Uuid = Uuid::from_u128(1);

    fn buffer(exchange: &Exchange) -> Buffer {
        let exporter = FakeExporter::new(1, FakeExporter::EVERYTHING);
        let tenant = Tenant::new("test", Limits::NONE);
        exchange.publish(exporter, &tenant).unwrap()
    }

    #[test]
    fn a_buffer_that_dies_late_forgets_only_itself() {
        let exchange = Exchange::new();
        let (old, new) = (buffer(&exchange), buffer(&exchange));
        new.register_uuid(UUID).unwrap();
        exchange.registry().forget(UUID, old.downgrade().as_ptr());
        assert_eq!(exchange.lookup(UUID).unwrap().id(), new.id());
        exchange.registry().forget(UUID, new.downgrade().as_ptr());
        assert!(exchange.registry().is_empty());
    }

    #[test]
    fn a_dead_buffers_uuid_is_free() {
        let exchange = Exchange::new();
        exchange.registry().write().insert(UUID, Weak::new());
        assert!(exchange.lookup(UUID).is_none());
        assert_eq!(buffer(&exchange).register_uuid(UUID), Ok(UUID));
    }
}
