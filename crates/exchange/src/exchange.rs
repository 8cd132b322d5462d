//! The exchange: all buffers of this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use landbridge_dmabuf::Identity;
use uuid::Uuid;

use crate::buffer::{Buffer, BufferId, Inner};
use crate::error::Error;
use crate::events::{Events, Subscription};
use crate::exporter::Exporter;
use crate::memories::Memories;
use crate::registry::Registry;
use crate::relocate::{MoveStats, Pace};
use crate::reservation::Life;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::tenant::{Charge, Resource, Tenant};
use crate::terms::MemoryModel;

/// What all buffers of an exchange share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) copied: AtomicU64,
    memories: Memories,
    pub(crate) events: Events,
    pub(crate) pace: Pace,
    buffers: Mutex<BTreeMap<BufferId, Weak<Inner>>>,
    /// Held from looking for memory to taking it in.
    publishing: Mutex<()>,
    next: AtomicU64,
}

impl Shared {
    fn buffers(&self) -> MutexGuard<'_, BTreeMap<BufferId, Weak<Inner>>> {
        // Changed by single inserts and removes.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, id: BufferId) {
        self.buffers().remove(&id);
    }
}

/// All buffers that one process shares out. Clones are the same exchange.
#[derive(Clone, Default)]
pub struct Exchange(Arc<Shared>);

impl Exchange {
    /// An empty exchange.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an exporter's memory in, on the account of `tenant`. The memory
    /// is released and uncharged when the last clone of the buffer is gone.
    ///
    /// Memory that is already another buffer's is refused where it is known to
    /// be cached otherwise there.
    pub fn publish(
        &self,
        exporter: impl Exporter + 'static,
        tenant: &Tenant,
    ) -> Result<Buffer, Error> {
        let offer = exporter.offer();
        if let Some(contradiction) = offer.contradiction() {
            return Err(Error::Export {
                exporter: exporter.name(),
                reason: contradiction.to_owned(),
            });
        }
        let charges = charge(tenant, exporter.size(), offer.model)?;
        self.admit(Box::new(exporter), charges)
    }

    /// Takes an exporter's memory in unless it is another buffer's already, and
    /// gives that one then, with nothing charged.
    pub fn publish_once(
        &self,
        exporter: impl Exporter + 'static,
        tenant: &Tenant,
    ) -> Result<Buffer, Error> {
        // Two who bring the same memory at once must not both find nothing.
        let lock = self.0.publishing.lock();
        let _publishing = lock.unwrap_or_else(PoisonError::into_inner);
        match exporter.identity().and_then(|memory| self.find(memory)) {
            Some(known) => Ok(known),
            None => self.publish(exporter, tenant),
        }
    }

    /// Takes in memory that is yet to be allocated: `size` bytes of this model
    /// are charged before `make` is called, so that nobody makes this machine
    /// allocate what they may not have. Where `make` fails, nothing is charged.
    ///
    /// `make` must give memory of this model and of exactly `size` bytes.
    pub fn publish_with<E: Exporter + 'static>(
        &self,
        size: u64,
        model: MemoryModel,
        tenant: &Tenant,
        make: impl FnOnce() -> Result<E, Error>,
    ) -> Result<Buffer, Error> {
        let charges = charge(tenant, size, model)?;
        let exporter = make()?;
        if exporter.size() != size || exporter.offer().model != model {
            return Err(Error::Export {
                exporter: exporter.name(),
                reason: format!(
                    "{size:#x} {model} bytes were paid for, and it made something else"
                ),
            });
        }
        self.admit(Box::new(exporter), charges)
    }

    /// A new buffer, zeroed, in the memory of `old`, which nobody is to use any
    /// more: what is still mapped of it in a guest's window is
    /// [handed over](crate::importers::window::WindowMapping::hand_over). Until
    /// `old` is dropped, both are paid for.
    ///
    /// `None` where the memory can't be emptied or is not there, and where anybody
    /// but that window may reach it: `old` has a UUID or another importer.
    pub fn renew(&self, old: &Buffer, tenant: &Tenant) -> Result<Option<Buffer>, Error> {
        let alone = old.uuid().is_none() && old.importers().len() <= 1;
        if !alone || old.life() != Life::Live {
            return Ok(None);
        }
        let charges = charge(tenant, old.size(), old.offer().model)?;
        let exporter = old.exporter().renew()?;
        exporter
            .map(|exporter| self.admit(exporter, charges))
            .transpose()
    }

    fn admit(&self, exporter: Box<dyn Exporter>, charges: Vec<Charge>) -> Result<Buffer, Error> {
        let memory = match (exporter.identity(), exporter.offer().caching) {
            (Some(identity), Some(caching)) => Some(self.0.memories.enter(identity, caching)?),
            _ => None,
        };
        let id = BufferId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::clone(&self.0);
        let buffer = Buffer::new(id, exporter, memory, charges, shared);
        self.0.buffers().insert(id, buffer.downgrade());
        Ok(buffer)
    }

    /// The living buffer with this UUID.
    pub fn lookup(&self, uuid: Uuid) -> Option<Buffer> {
        self.0.registry.lookup(uuid)
    }

    /// The living buffer whose whole memory is this file, the oldest if there
    /// are several.
    pub fn find(&self, identity: Identity) -> Option<Buffer> {
        let mut all = self.buffers().into_iter();
        all.find(|buffer| buffer.identity() == Some(identity))
    }

    /// Buffers by UUID.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// All living buffers, the oldest first.
    pub fn buffers(&self) -> Vec<Buffer> {
        // Upgraded under the lock, wrapped outside: a buffer's last drop takes
        // the lock.
        let living: Vec<_> = self
            .0
            .buffers()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        living.into_iter().map(Buffer).collect()
    }

    /// Hears of all that happens to buffers from now on.
    pub fn subscribe(&self) -> Subscription {
        self.0.events.subscribe()
    }

    /// Moves at most this many bytes in a second; `None` is without limit.
    pub fn limit_moves(&self, bytes_per_second: Option<u64>) {
        self.0.pace.set(bytes_per_second);
    }

    /// What was moved.
    pub fn moves(&self) -> MoveStats {
        self.0.pace.stats()
    }

    /// How many bytes were copied, of all buffers that ever lived.
    pub fn copied_bytes(&self) -> u64 {
        self.0.copied.load(Ordering::Relaxed)
    }
}

/// What a tenant pays for a buffer.
fn charge(tenant: &Tenant, size: u64, model: MemoryModel) -> Result<Vec<Charge>, Error> {
    let mut charges = vec![
        tenant.charge(Resource::Buffers, 1)?,
        tenant.charge(Resource::Bytes, size)?,
    ];
    if model == MemoryModel::Pinned {
        charges.push(tenant.charge(Resource::PinnedBytes, size)?);
    }
    Ok(charges)
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("buffers", &self.0.buffers().len())
            .finish_non_exhaustive()
    }
}
