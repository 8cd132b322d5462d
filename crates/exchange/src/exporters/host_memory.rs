//! Memory of this host: a sealed memfd, a udmabuf over one, or a dma-heap.
//!
//! It is pinned unless made otherwise. Memory that was taken away is kept by the
//! exporter alone. Where somebody can't be cut off from it, its bytes go to fresh
//! memory, and the old memory is emptied if it can be.

use std::fmt;
use std::time::Duration;

use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::storage::Holders;
use landbridge_dmabuf::{Access, Bracketed, Identity, Memfd, Storage, Udmabuf};

use crate::caching::{Caching, CachingSource, KnownCaching};
use crate::error::Error;
use crate::exporter::Exporter;
use crate::ranges::{GuestPhysical, RangeList};
use crate::reservation::Life;
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::terms::{MemoryModel, Offer};

/// What kind of memory of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sealed memfd: on every machine, but no dma-buf.
    Memfd,
    /// The same in the machine's huge pages, where it has some to spare.
    HugePages,
    /// A dma-buf over a memfd's pages; needs /dev/udmabuf.
    Udmabuf,
    /// A dma-buf of the system heap; needs /dev/dma_heap/system.
    SystemHeap,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Memfd => "memfd",
            Self::HugePages => "huge pages",
            Self::Udmabuf => "udmabuf",
            Self::SystemHeap => "system heap",
        }
    }

    /// How it is cached by rule: what it is made of leaves no choice.
    pub fn caching(self) -> KnownCaching {
        KnownCaching {
            caching: Caching::WriteBack,
            source: CachingSource::Rule(match self {
                Self::Memfd | Self::HugePages => "a memfd's pages are page cache",
                Self::Udmabuf => "udmabuf maps a memfd's own pages",
                Self::SystemHeap => "the system heap maps ordinary pages cached",
            }),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What memory of this host is to be: its kind and, where that matters, the NUMA
/// node that it comes from. A kind alone is of any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Of what kind.
    pub kind: Kind,
    /// The node's number; the kernel chooses where there is none. The system heap
    /// can't be told.
    pub node: Option<u32>,
}

impl Kind {
    /// Memory of this kind from one NUMA node.
    #[must_use]
    pub fn on_node(self, node: u32) -> Placement {
        Placement {
            kind: self,
            node: Some(node),
        }
    }
}

impl From<Kind> for Placement {
    fn from(kind: Kind) -> Self {
        Self { kind, node: None }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "{} of node {node}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

/// Memory of this host, zeroed.
#[derive(Debug)]
pub struct HostMemory {
    label: String,
    size: u64,
    model: MemoryModel,
    /// Whatever backs it, the kernel can pin it for a device.
    pinnable: bool,
    backing: Mutex<Backing>,
}

/// What backs the memory now.
#[derive(Debug, Clone)]
struct Backing {
    placement: Placement,
    caching: KnownCaching,
    /// `None` once it is gone for good.
    storage: Option<Storage>,
    /// Somebody who can't be cut off has the memory: before anybody gets it again
    /// its bytes go to other memory.
    abandoned: bool,
}

impl HostMemory {
    /// Allocates `size` bytes of this kind, pinned: a multiple of the page size,
    /// not 0. `name` is shown by the kernel's tools; what exceeds 31 bytes is cut.
    pub fn allocate(name: &str, size: u64, placement: impl Into<Placement>) -> Result<Self, Error> {
        Self::make(name, size, placement.into(), false)
    }

    /// The same, such that the kernel can pin it for a device, through VFIO: a
    /// udmabuf keeps the descriptor of its memfd for that. The system heap can't.
    pub fn allocate_pinnable(
        name: &str,
        size: u64,
        placement: impl Into<Placement>,
    ) -> Result<Self, Error> {
        Self::make(name, size, placement.into(), true)
    }

    fn make(name: &str, size: u64, placement: Placement, pinnable: bool) -> Result<Self, Error> {
        let label = cut(name, 31).to_owned();
        let storage = storage(&label, size, placement, pinnable)?;
        Ok(Self {
            label,
            size: storage.size(),
            model: MemoryModel::Pinned,
            pinnable,
            backing: Mutex::new(Backing {
                placement,
                caching: placement.kind.caching(),
                storage: Some(storage),
                abandoned: false,
            }),
        })
    }

    /// The same memory, which may be taken away or moved as `model` says.
    #[must_use]
    pub fn of_model(self, model: MemoryModel) -> Self {
        Self { model, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Backing> {
        // Each change is one assignment.
        self.backing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> Result<Storage, Error> {
        let storage = self.lock().storage.clone();
        storage.ok_or_else(|| Error::Export {
            exporter: self.name(),
            reason: "its memory is gone".to_owned(),
        })
    }

    /// Puts other memory in place. What was there is dropped without the lock.
    fn replace(&self, placement: Placement, storage: Option<Storage>) {
        let mut backing = self.lock();
        let caching = if placement.kind == backing.placement.kind {
            backing.caching
        } else {
            placement.kind.caching()
        };
        let fresh = Backing {
            placement,
            caching,
            storage,
            abandoned: false,
        };
        let old = std::mem::replace(&mut *backing, fresh);
        drop(backing);
        drop(old);
    }

    /// Leaves the memory to those who can't be cut off: fresh memory with the same
    /// bytes takes its place. Where that fails, nothing has changed.
    fn abandon(&self, old: &Storage) -> Result<(), Error> {
        let placement = self.lock().placement;
        let fresh = storage(&self.label, self.size, placement, self.pinnable)?;
        // Whoever has it exclusively is in this process, and is left with memory
        // that nobody else has.
        if !old.holders().exclusive {
            match copy(old, &fresh, &|| false) {
                // A device that does not end is cut off like everybody else: what
                // it writes from now on is nobody's.
                Err(Error::Memory(landbridge_dmabuf::Error::Fenced { .. })) => {
                    old.salvage(&fresh)?;
                }
                copied => drop(copied?),
            }
        }
        self.replace(placement, Some(fresh));
        Ok(())
    }

    /// The same memory, whose caching somebody looked at. It must be that of
    /// every memory of this kind, or of this one.
    #[must_use]
    pub fn with_caching(self, caching: KnownCaching) -> Self {
        self.lock().caching = caching;
        self
    }
}

fn storage(name: &str, size: u64, placement: Placement, pinnable: bool) -> Result<Storage, Error> {
    let Placement { kind, node } = placement;
    let memfd = |huge_pages| {
        let options = Options {
            huge_pages,
            node,
            ..Options::default()
        };
        Memfd::create(name, size, options)
    };
    let cannot = |reason: &str| Error::Export {
        exporter: kind.name(),
        reason: reason.to_owned(),
    };
    Ok(match kind {
        Kind::Memfd => Storage::from_memfd(memfd(false)?)?,
        Kind::HugePages => Storage::from_memfd(memfd(true)?)?,
        Kind::Udmabuf => {
            let device = Udmabuf::open()?;
            let buffer = if pinnable {
                device.wrap_keeping(memfd(false)?)?
            } else {
                device.wrap(memfd(false)?)?
            };
            buffer.set_name(name)?;
            Storage::from_dmabuf(buffer)?
        }
        Kind::SystemHeap if pinnable => {
            return Err(cannot("the kernel can't pin its memory for a device"));
        }
        Kind::SystemHeap if node.is_some() => {
            return Err(cannot("it can't be told which NUMA node to take"));
        }
        Kind::SystemHeap => {
            let buffer = Heap::open("system")?.allocate(size)?;
            buffer.set_name(name)?;
            Storage::from_dmabuf(buffer)?
        }
    })
}

/// The bytes that are copied before somebody looks whether to go on.
const CHUNK: usize = 1 << 20;

/// How long a copy waits for devices: they were waited for before, and newcomers
/// are held back.
const IDLE: Duration = Duration::from_secs(1);

/// Copies all bytes, unless `stop` says so meanwhile.
fn copy(from: &Storage, to: &Storage, stop: &dyn Fn() -> bool) -> Result<bool, Error> {
    let (source, target) = (from.map(Access::ReadOnly)?, to.map(Access::ReadWrite)?);
    let (reading, writing) = (source.read(IDLE)?, target.write(IDLE)?);
    let size = source.len();
    for at in (0..size).step_by(CHUNK) {
        if stop() {
            return Ok(false);
        }
        let part = reading.view().sub(at, CHUNK.min(size - at))?;
        writing.view().copy_from_view(at, part)?;
    }
    writing.end()?;
    reading.end()?;
    Ok(true)
}

/// Empties memory under those who still have it.
fn empty(old: &Storage) -> Result<(), Error> {
    if old.holders().exclusive {
        return Ok(());
    }
    Ok(old.sever()?)
}

/// The longest beginning of `name` of at most `most` bytes.
fn cut(name: &str, most: usize) -> &str {
    let end = (0..=name.len().min(most))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

impl Exporter for HostMemory {
    fn name(&self) -> &'static str {
        self.lock().placement.kind.name()
    }

    fn node(&self) -> Option<u32> {
        self.lock().placement.node
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn offer(&self) -> Offer {
        let backing = self.lock();
        Offer {
            model: self.model,
            cpu: true,
            caching: Some(backing.caching),
            writable: true,
            exclusive: backing
                .storage
                .as_ref()
                .is_some_and(Storage::can_be_exclusive),
            descriptor: true,
            // What moves stays pinnable only if that was asked for.
            pages: match self.model {
                MemoryModel::Movable { .. } => self.pinnable,
                _ => backing.storage.as_ref().is_some_and(Storage::is_pinnable),
            },
            ..Offer::NOTHING
        }
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.lock().storage.as_ref()?.identity())
    }

    fn map(&self, access: Access) -> Result<Bracketed, Error> {
        Ok(self.present()?.map(access)?)
    }

    fn storage(&self) -> Option<Storage> {
        self.lock().storage.clone()
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }

    fn renew(&self) -> Result<Option<Box<dyn Exporter>>, Error> {
        const ONE_LOAN: Holders = Holders {
            loans: 1,
            lost_loans: 0,
            mappings: 0,
            exclusive: false,
        };
        let backing = self.lock().clone();
        let Some(storage) = backing.storage.as_ref() else {
            return Ok(None);
        };
        // Huge pages that are made anew are of any node.
        let Placement { kind, node } = backing.placement;
        let strays = kind == Kind::HugePages && node.is_some();
        if storage.dma_buf().is_some() || storage.holders() != ONE_LOAN || strays {
            return Ok(None);
        }
        storage.sever()?;
        Ok(Some(Box::new(Self {
            label: self.label.clone(),
            size: self.size,
            model: self.model,
            pinnable: self.pinnable,
            backing: Mutex::new(backing),
        })))
    }

    fn revoke(&self, held: &[String]) -> Result<(), Error> {
        let old = self.present()?;
        let still_held = |error| {
            tracing::warn!(%error, "memory could not be taken away");
            Error::StillHeld {
                exporter: self.name(),
                by: held.to_vec(),
            }
        };
        if self.model != (MemoryModel::Revocable { restorable: true }) {
            let placement = self.lock().placement;
            self.replace(placement, None);
        } else if !held.is_empty() {
            self.lock().abandoned = true;
            self.abandon(&old).map_err(still_held)?;
        }
        if held.is_empty() {
            return Ok(());
        }
        empty(&old).map_err(still_held)
    }

    fn restore(&self) -> Result<(), Error> {
        if !self.lock().abandoned {
            return Ok(());
        }
        let old = self.present()?;
        self.abandon(&old)?;
        if let Err(error) = empty(&old) {
            // As the revocation said.
            tracing::warn!(%error, "memory could not be taken away");
        }
        Ok(())
    }

    fn relocate(&self, to: Placement, hurried: &dyn Fn() -> bool) -> Result<(), Error> {
        let old = self.present()?;
        let holders = old.holders();
        // Loans are those of importers that hold still; a lost one is nobody's.
        if holders.exclusive || holders.lost_loans > 0 {
            return Err(landbridge_dmabuf::Error::InUse { holders }.into());
        }
        let fresh = storage(&self.label, self.size, to, self.pinnable)?;
        if !copy(&old, &fresh, hurried)? {
            return Err(Error::Busy(Life::Revoking));
        }
        self.replace(to, Some(fresh));
        Ok(())
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    const RESTORABLE: MemoryModel = MemoryModel::Revocable { restorable: true };

    fn byte(memory: &HostMemory) -> u8 {
        let mapping = memory.map(Access::ReadOnly).unwrap();
        let reading = mapping.read(IDLE).unwrap();
        let byte = reading.view().read_at(5).unwrap();
        reading.end().unwrap();
        byte
    }

    /// A VMM keeps the memory, and there is no other to bring the bytes to.
    #[test]
    fn memory_that_could_not_be_taken_away_never_comes_back_to_who_kept_it() {
        let memory = HostMemory::allocate("kept", 4096, Kind::Memfd).unwrap();
        let mut memory = memory.of_model(RESTORABLE);
        let mapping = memory.map(Access::ReadWrite).unwrap();
        let writing = mapping.write(IDLE).unwrap();
        writing.view().write_at(5, 7_u8).unwrap();
        writing.end().unwrap();
        drop(mapping);
        let old = memory.storage().unwrap();
        let loan = old.lend().unwrap();
        let label = std::mem::replace(&mut memory.label, "no name\0".to_owned());

        let error = memory.revoke(&["a VMM".to_owned()]).unwrap_err();
        assert!(matches!(error, Error::StillHeld { .. }), "{error}");
        // It stays revoked until there is memory for it.
        memory.restore().unwrap_err();
        assert_eq!(memory.identity(), Some(old.identity()));
        memory.label = label;
        memory.restore().unwrap();
        assert_ne!(memory.identity(), Some(old.identity()));
        assert_eq!(byte(&memory), 7, "the bytes came along");
        let theirs = old.map(Access::ReadOnly).unwrap();
        let reading = theirs.read(IDLE).unwrap();
        assert_eq!(reading.view().read_at::<u8>(5).unwrap(), 0);
        drop(reading);
        // Nobody has it any more: the next time is like the first.
        let fresh = memory.identity();
        memory.revoke(&[]).unwrap();
        memory.restore().unwrap();
        assert_eq!(memory.identity(), fresh);
        drop(loan);
    }

    #[test]
    fn memory_is_of_the_node_that_was_asked_for() {
        let place = Kind::Memfd.on_node(0);
        let memory = match HostMemory::allocate("node", 4096, place) {
            Ok(memory) => memory,
            Err(error) => {
                assert!(
                    matches!(error, Error::Memory(landbridge_dmabuf::Error::Sys { .. })),
                    "{error}"
                );
                eprintln!("skipped: {error}");
                return;
            }
        };
        assert_eq!(memory.node(), Some(0));
        let far = Kind::Memfd.on_node(4095);
        let want = "NUMA node 4095 has no memory for this process";
        let error = HostMemory::allocate("node", 4096, far).unwrap_err();
        assert_eq!(error.to_string(), want);
        let error = memory.relocate(far, &|| false).unwrap_err();
        assert_eq!(error.to_string(), want);
        assert_eq!(memory.node(), Some(0), "it is where it was");
        memory.relocate(Kind::Memfd.into(), &|| false).unwrap();
        assert_eq!(memory.node(), None);
        memory.relocate(place, &|| false).unwrap();
        assert_eq!(memory.node(), Some(0));
        let heap = HostMemory::allocate("node", 4096, Kind::SystemHeap.on_node(0));
        assert!(heap.unwrap_err().to_string().contains("which NUMA node"));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(cut("short", 31), "short");
        assert_eq!(cut("ääää", 3), "ä");
        assert_eq!(cut("", 31), "");
    }
}
