//! An exchange, a tenant and a VMM; it ends with nothing left over.
#![expect(
    unsafe_code,
    reason = "proves to the ledger that a fake VMM holds nothing"
)]

use std::sync::Arc;
use std::time::Duration;

use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::storage::Holders;
use landbridge_dmabuf::{LetGo, Memfd, Storage};
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::importers::window::fake::FakeMapper;
use landbridge_exchange::importers::window::{PAGE, Window};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};

pub(crate) const NOW: Duration = Duration::ZERO;
pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const WINDOW: u64 = 16 * PAGE;

pub(crate) struct Scene {
    pub(crate) exchange: Exchange,
    pub(crate) tenant: Tenant,
    pub(crate) mapper: Arc<FakeMapper>,
    pub(crate) window: Arc<Window>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let mapper = Arc::new(FakeMapper::new(let_go));
        Self {
            exchange: Exchange::new(),
            tenant: Tenant::new("guest", limits),
            window: Window::new(Arc::clone(&mapper) as Arc<_>, WINDOW),
            mapper,
        }
    }

    /// A buffer with everything on offer, and its storage, whose ledger tells
    /// who reaches it.
    pub(crate) fn buffer(&self, pages: u64) -> (Buffer, Storage) {
        let storage = storage(pages);
        let exporter = FakeExporter::with_storage(storage.clone(), FakeExporter::EVERYTHING);
        let buffer = self.exchange.publish(exporter, &self.tenant).unwrap();
        (buffer, storage)
    }

    /// What the tenant holds: pinned bytes, buffers, attachments, window maps.
    pub(crate) fn used(&self) -> [u64; 4] {
        [
            Resource::PinnedBytes,
            Resource::Buffers,
            Resource::Attachments,
            Resource::WindowMaps,
        ]
        .map(|resource| self.tenant.used(resource))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // What the VMM never gave back is kept until then.
        self.window.reset();
        for resource in Resource::ALL {
            assert_eq!(
                self.tenant.used(resource),
                0,
                "{resource} are still charged"
            );
        }
        assert!(self.exchange.buffers().is_empty(), "a buffer is left");
        assert!(self.exchange.registry().is_empty(), "a UUID is left");
    }
}

pub(crate) fn storage(pages: u64) -> Storage {
    let memfd = Memfd::create("scene", pages * PAGE, Options::default()).unwrap();
    Storage::from_memfd(memfd).unwrap()
}

pub(crate) fn holders(loans: u32, lost_loans: u32, mappings: u32) -> Holders {
    Holders {
        loans,
        lost_loans,
        mappings,
        exclusive: false,
    }
}

/// The proof for the fake VMM.
pub(crate) fn let_go() -> LetGo {
    // SAFETY: a `FakeMapper` makes no duplicate of a descriptor, no mapping and
    // nothing else of what it is lent, so there is nothing that could be left.
    unsafe { LetGo::assert() }
}
