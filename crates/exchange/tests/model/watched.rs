//! An exporter that looks at who is left whenever it is called.

use std::sync::Arc;
use std::time::Duration;

use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Access, Bracketed, Identity, Memfd, Storage};
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::exporters::host_memory::Placement;
use landbridge_exchange::importers::window::PAGE;
use landbridge_exchange::ranges::{GuestPhysical, RangeList};
use landbridge_exchange::terms::{MemoryModel, Offer};
use landbridge_exchange::{Error, Exporter};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, Ordering};

/// No device has it.
const LIMIT: Duration = Duration::ZERO;

/// One page that is restorable or movable, and has no checks of its own: what
/// must not happen is for the exchange to prevent.
pub(crate) struct Watched {
    model: MemoryModel,
    seen: Arc<Seen>,
}

/// What the exporter knows, for others to look at.
#[derive(Default)]
pub(crate) struct Seen {
    storage: Mutex<Option<Storage>>,
    /// Somebody kept memory that was taken away.
    left: AtomicBool,
    /// What was left to decoders that took too long. Looked at without a step.
    abandoned: std::sync::Mutex<Vec<Storage>>,
}

impl Seen {
    pub(crate) fn storage(&self) -> Storage {
        self.storage.lock().unwrap().clone().unwrap()
    }

    /// Whether anybody was left with memory that was taken away.
    pub(crate) fn was_left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }

    /// Whether bytes were left to a decoder that took too long.
    pub(crate) fn bytes_were_left(&self) -> bool {
        !self.abandoned.lock().unwrap().is_empty()
    }

    /// How many decoders have memory that was left to them, and to nobody else.
    pub(crate) fn left_behind(&self) -> usize {
        let abandoned = self.abandoned.lock().unwrap();
        let held = abandoned.iter().filter(|it| it.holders().exclusive);
        held.count()
    }
}

impl Watched {
    pub(crate) fn new(model: MemoryModel, seen: &Arc<Seen>) -> Self {
        *seen.storage.lock().unwrap() = Some(fresh());
        Self {
            model,
            seen: Arc::clone(seen),
        }
    }

    fn now(&self) -> Storage {
        self.seen.storage()
    }

    /// Others may run here, as they may during a system call.
    fn somebody_else(&self) {
        drop(self.seen.storage.lock().unwrap());
    }

    fn replace(&self, storage: Storage) {
        let old = self.seen.storage.lock().unwrap().replace(storage);
        drop(old);
    }
}

fn fresh() -> Storage {
    let memfd = Memfd::create("watched", PAGE, Options::default()).unwrap();
    Storage::from_memfd(memfd).unwrap()
}

impl Exporter for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn size(&self) -> u64 {
        PAGE
    }

    fn offer(&self) -> Offer {
        Offer {
            model: self.model,
            ranges: false,
            dma: false,
            ..FakeExporter::EVERYTHING
        }
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.now().identity())
    }

    fn map(&self, access: Access) -> Result<Bracketed, Error> {
        let storage = self.now();
        self.somebody_else();
        Ok(storage.map(access)?)
    }

    fn storage(&self) -> Option<Storage> {
        Some(self.now())
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }

    fn revoke(&self, held: &[String]) -> Result<(), Error> {
        self.somebody_else();
        let old = self.now();
        if held.is_empty() {
            return Ok(());
        }
        // Somebody is left: whoever it is keeps the old memory.
        self.seen.left.store(true, Ordering::SeqCst);
        let next = fresh();
        if !old.holders().exclusive {
            let (from, to) = (old.map(Access::ReadOnly)?, next.map(Access::ReadWrite)?);
            let (read, written) = (from.read(LIMIT)?, to.write(LIMIT)?);
            written.view().copy_from_view(0, read.view())?;
        } else {
            self.seen.abandoned.lock().unwrap().push(old);
        }
        self.replace(next);
        Ok(())
    }

    fn relocate(&self, _: Placement, hurried: &dyn Fn() -> bool) -> Result<(), Error> {
        let (old, next) = (self.now(), fresh());
        assert_eq!(old.holders().loans, 0, "pinned memory is moved");
        assert!(!old.holders().exclusive, "memory is moved under a decoder");
        let (from, to) = (old.map(Access::ReadOnly)?, next.map(Access::ReadWrite)?);
        let (read, written) = (from.read(LIMIT)?, to.write(LIMIT)?);
        for at in [0, 2048] {
            if hurried() {
                return Err(Error::Export {
                    exporter: "watched",
                    reason: "hurried".to_owned(),
                });
            }
            self.somebody_else();
            let half = read.view().sub(at, 2048)?;
            written.view().copy_from_view(at, half)?;
        }
        written.end()?;
        read.end()?;
        drop((from, to));
        self.replace(next);
        Ok(())
    }
}
