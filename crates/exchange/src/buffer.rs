//! One buffer: its exporter, its identity, and all who use it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use landbridge_dmabuf::Identity;
use uuid::Uuid;

use crate::attachment::Attachment;
use crate::error::Error;
use crate::exchange::Shared;
use crate::exporter::Exporter;
use crate::importer::Importer;
use crate::memories::Entry;
use crate::registry::UuidError;
use crate::reservation::Reservation;
use crate::tenant::{Charge, Tenant};
use crate::terms::{self, Needs, Offer, Refusal, Terms};

/// A buffer's number in its exchange: never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub(crate) u64);

impl BufferId {
    /// The number, for records.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One importer's hold on a buffer, for status.
#[derive(Debug, Clone)]
pub struct ImporterStatus {
    /// Who it is.
    pub name: String,
    /// What was agreed.
    pub terms: Terms,
}

/// What the exchange keeps of one buffer.
pub(crate) struct Inner {
    id: BufferId,
    exporter: Box<dyn Exporter>,
    offer: Offer,
    reservation: Reservation,
    uuid: OnceLock<Uuid>,
    importers: Mutex<BTreeMap<u64, ImporterStatus>>,
    next_importer: AtomicU64,
    copied: AtomicU64,
    // Field order: the exporter above is released before its memory may be
    // cached otherwise, and before it is uncharged.
    _memory: Option<Entry>,
    charges: Vec<Charge>,
    shared: Arc<Shared>,
}

impl Inner {
    fn importers(&self) -> MutexGuard<'_, BTreeMap<u64, ImporterStatus>> {
        // Changed by single inserts and removes.
        self.importers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(uuid) = self.uuid.get() {
            self.shared.registry.forget(*uuid, self);
        }
        self.shared.forget(self.id);
    }
}

/// One buffer. Clones are the same buffer; the last one releases it.
#[derive(Clone)]
pub struct Buffer(pub(crate) Arc<Inner>);

impl Buffer {
    pub(crate) fn new(
        id: BufferId,
        exporter: Box<dyn Exporter>,
        memory: Option<Entry>,
        charges: Vec<Charge>,
        shared: Arc<Shared>,
    ) -> Self {
        Self(Arc::new(Inner {
            id,
            offer: exporter.offer(),
            exporter,
            reservation: Reservation::default(),
            uuid: OnceLock::new(),
            importers: Mutex::default(),
            next_importer: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            _memory: memory,
            charges,
            shared,
        }))
    }

    /// Its number in the exchange.
    pub fn id(&self) -> BufferId {
        self.0.id
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.0.exporter.size()
    }

    /// What kind of exporter owns it.
    pub fn exporter_name(&self) -> &'static str {
        self.0.exporter.name()
    }

    /// Whose memory it is, where the exporter's kind does not tell.
    pub fn origin(&self) -> Option<&str> {
        self.0.exporter.origin()
    }

    /// What the exporter offers.
    pub fn offer(&self) -> &Offer {
        &self.0.offer
    }

    /// The identity of the file behind it, where there is one.
    pub fn identity(&self) -> Option<Identity> {
        self.0.exporter.identity()
    }

    /// Who pays for it.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.0.charges.first().map(Charge::tenant)
    }

    /// Its UUID, once it has one.
    pub fn uuid(&self) -> Option<Uuid> {
        self.0.uuid.get().copied()
    }

    /// Gives the buffer its UUID for life: a random one, or the one that it
    /// has already.
    pub fn assign_uuid(&self) -> Result<Uuid, UuidError> {
        self.0.shared.registry.assign(self, None)
    }

    /// Gives the buffer this UUID for life. Fails for the nil UUID, for one
    /// that another buffer has, and where the buffer has another one.
    pub fn register_uuid(&self, uuid: Uuid) -> Result<Uuid, UuidError> {
        self.0.shared.registry.assign(self, Some(uuid))
    }

    /// What an importer with these needs would get, without attaching it.
    pub fn ask(&self, importer: &str, needs: &Needs) -> Result<Terms, Refusal> {
        terms::negotiate(&self.0.offer, needs).map_err(|unmet| Refusal {
            importer: importer.to_owned(),
            exporter: self.exporter_name().to_owned(),
            unmet,
        })
    }

    /// Attaches an importer, on the account of the tenant that pays for it.
    pub fn attach(&self, importer: &impl Importer, tenant: &Tenant) -> Result<Attachment, Error> {
        Attachment::new(self, importer, tenant)
    }

    /// The fences of all who use it.
    pub fn reservation(&self) -> &Reservation {
        &self.0.reservation
    }

    /// All importers that are attached now.
    pub fn importers(&self) -> Vec<ImporterStatus> {
        self.0.importers().values().cloned().collect()
    }

    /// Whoever copies pixels of this buffer says so here.
    pub fn count_copied(&self, bytes: u64) {
        self.0.copied.fetch_add(bytes, Ordering::Relaxed);
        self.0.shared.copied.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes of it were ever copied.
    pub fn copied_bytes(&self) -> u64 {
        self.0.copied.load(Ordering::Relaxed)
    }

    pub(crate) fn exporter(&self) -> &dyn Exporter {
        &*self.0.exporter
    }

    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn set_uuid(&self, uuid: Uuid) {
        // The registry's lock makes the caller the only one who sets it.
        let _ = self.0.uuid.set(uuid);
    }

    pub(crate) fn add_importer(&self, status: ImporterStatus) -> u64 {
        let number = self.0.next_importer.fetch_add(1, Ordering::Relaxed);
        self.0.importers().insert(number, status);
        number
    }

    pub(crate) fn remove_importer(&self, number: u64) {
        self.0.importers().remove(&number);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("id", &self.0.id)
            .field("exporter", &self.exporter_name())
            .field("size", &self.size())
            .field("uuid", &self.uuid())
            .finish_non_exhaustive()
    }
}
