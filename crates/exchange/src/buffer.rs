//! One buffer: its exporter, its identity, and all who use it.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::{Identity, Storage, SyncFile};
use uuid::Uuid;

use crate::attachment::Attachment;
use crate::devices::unwatched;
use crate::error::Error;
use crate::events::What;
use crate::exchange::Shared;
use crate::exporter::Exporter;
use crate::fence::Fence;
use crate::importer::Importer;
use crate::memories::Entry;
use crate::registry::UuidError;
use crate::relocate::Pace;
use crate::reservation::{Life, Reservation, Usage};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::tenant::{Charge, Tenant};
use crate::terms::{self, Direction, Needs, Offer, Refusal, Terms};

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
    copied: AtomicU64,
    // Field order: the exporter above is released before its memory may be
    // cached otherwise, and before it is uncharged.
    _memory: Option<Entry>,
    charges: Vec<Charge>,
    shared: Arc<Shared>,
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
            copied: AtomicU64::new(0),
            _memory: memory,
            charges,
            shared,
        }))
    }

    /// How many clones of it there are, this one among them: nobody who has none
    /// can do anything to it.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
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

    /// What backs it now: the exporter's name, and the NUMA node where its memory
    /// comes from one only, as in "memfd of node 1".
    pub fn backing(&self) -> String {
        let exporter = &self.0.exporter;
        match exporter.node() {
            Some(node) => format!("{} of node {node}", exporter.name()),
            None => exporter.name().to_owned(),
        }
    }

    /// Whose memory it is, where the exporter's kind does not tell.
    pub fn origin(&self) -> Option<&str> {
        self.0.exporter.origin()
    }

    /// What people should know about its memory.
    pub fn note(&self) -> Option<&str> {
        self.0.exporter.note()
    }

    /// What the exporter offers.
    pub fn offer(&self) -> &Offer {
        &self.0.offer
    }

    /// The identity of the file behind it, where there is one.
    pub fn identity(&self) -> Option<Identity> {
        self.0.exporter.identity()
    }

    /// Whether what backs it now is a dma-buf, which each exporter maps in its
    /// own way.
    pub fn is_dma_buf(&self) -> bool {
        let storage = self.0.exporter.storage();
        storage.is_some_and(|storage| storage.dma_buf().is_some())
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
        let records = self.reservation().importers();
        records
            .into_iter()
            .map(|record| ImporterStatus {
                name: record.name,
                terms: record.terms,
            })
            .collect()
    }

    /// Whether its memory is there: before work that would fail otherwise, but
    /// not under a guard, it may go away the next moment.
    ///
    /// # Errors
    /// [`Error::Revoked`] where it is not.
    pub fn check_there(&self) -> Result<(), Error> {
        match self.life() {
            Life::Live | Life::Moving => Ok(()),
            life => Err(Error::Revoked {
                buffer: self.id(),
                life,
            }),
        }
    }

    /// What is happening to its memory.
    pub fn life(&self) -> Life {
        self.reservation().life()
    }

    /// The kernel's fences that work in `direction` must wait for, as a
    /// descriptor for a device; `None` where the memory is no dma-buf. Our own
    /// fences have no descriptor, so they are waited for, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Memory`].
    pub fn fences_out(
        &self,
        direction: Direction,
        limit: Duration,
    ) -> Result<Option<SyncFile>, Error> {
        let storage = self.exporter().storage();
        let Some(buffer) = storage.as_ref().and_then(Storage::dma_buf) else {
            return Ok(None);
        };
        self.reservation().wait(Usage::blocking(direction), limit)?;
        Ok(Some(buffer.export_sync_file(fence_use(direction))?))
    }

    /// Adds a device's work in `direction`: everybody waits for it, here and,
    /// where the memory is a dma-buf, in the kernel.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn fence_in(
        &self,
        label: &str,
        direction: Direction,
        file: SyncFile,
    ) -> Result<Fence, Error> {
        let storage = self.exporter().storage();
        if let Some(buffer) = storage.as_ref().and_then(Storage::dma_buf) {
            buffer.import_sync_file(fence_use(direction), &file)?;
        }
        let fence = Fence::of_sync_file(label, file).map_err(unwatched)?;
        self.reservation()
            .add_as(fence.clone(), Usage::of(direction));
        Ok(fence)
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

    /// Says what happened to it.
    pub(crate) fn tell(&self, what: What) {
        self.0.shared.events.tell(self.id(), self.uuid(), what);
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.0.shared.pace
    }

    /// The error of whoever needs memory that is not there.
    pub(crate) fn not_there(&self) -> Error {
        Error::Revoked {
            buffer: self.id(),
            life: self.life(),
        }
    }
}

fn fence_use(direction: Direction) -> FenceUse {
    if direction.writes() {
        FenceUse::Write
    } else {
        FenceUse::Read
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
