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
    kind: Kind,
    caching: KnownCaching,
    /// `None` once it is gone for good.
    storage: Option<Storage>,
}

impl HostMemory {
    /// Allocates `size` bytes of this kind, pinned: a multiple of the page size,
    /// not 0. `name` is shown by the kernel's tools; what exceeds 31 bytes is cut.
    pub fn allocate(name: &str, size: u64, kind: Kind) -> Result<Self, Error> {
        Self::make(name, size, kind, false)
    }

    /// The same, such that the kernel can pin it for a device, through VFIO: a
    /// udmabuf keeps the descriptor of its memfd for that. The system heap can't.
    pub fn allocate_pinnable(name: &str, size: u64, kind: Kind) -> Result<Self, Error> {
        Self::make(name, size, kind, true)
    }

    fn make(name: &str, size: u64, kind: Kind, pinnable: bool) -> Result<Self, Error> {
        let label = cut(name, 31).to_owned();
        let storage = storage(&label, size, kind, pinnable)?;
        Ok(Self {
            label,
            size: storage.size(),
            model: MemoryModel::Pinned,
            pinnable,
            backing: Mutex::new(Backing {
                kind,
                caching: kind.caching(),
                storage: Some(storage),
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
    fn replace(&self, kind: Kind, storage: Option<Storage>) {
        let mut backing = self.lock();
        let caching = if kind == backing.kind {
            backing.caching
        } else {
            kind.caching()
        };
        let fresh = Backing {
            kind,
            caching,
            storage,
        };
        let old = std::mem::replace(&mut *backing, fresh);
        drop(backing);
        drop(old);
    }

    /// Leaves the memory to those who can't be cut off, and empties it if that
    /// can be done.
    fn abandon(&self, old: &Storage, held: &[String]) -> Result<(), Error> {
        let kind = self.lock().kind;
        let fresh = storage(&self.label, self.size, kind, self.pinnable)?;
        if !old.holders().exclusive {
            copy(old, &fresh, &|| false)?;
        }
        self.replace(kind, Some(fresh));
        // Whoever has it exclusively is in this process, and is left with memory
        // that nobody else has.
        if old.holders().exclusive {
            return Ok(());
        }
        old.sever().map_err(|error| {
            tracing::warn!(%error, "memory could not be taken away");
            Error::StillHeld {
                exporter: self.name(),
                by: held.to_vec(),
            }
        })
    }

    /// The same memory, whose caching somebody looked at. It must be that of
    /// every memory of this kind, or of this one.
    #[must_use]
    pub fn with_caching(self, caching: KnownCaching) -> Self {
        self.lock().caching = caching;
        self
    }
}

fn storage(name: &str, size: u64, kind: Kind, pinnable: bool) -> Result<Storage, Error> {
    let memfd = |huge_pages| {
        let options = Options {
            huge_pages,
            ..Options::default()
        };
        Memfd::create(name, size, options)
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
            return Err(Error::Export {
                exporter: kind.name(),
                reason: "the kernel can't pin its memory for a device".to_owned(),
            });
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

/// The longest beginning of `name` of at most `most` bytes.
fn cut(name: &str, most: usize) -> &str {
    let end = (0..=name.len().min(most))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

impl Exporter for HostMemory {
    fn name(&self) -> &'static str {
        self.lock().kind.name()
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
        if storage.dma_buf().is_some() || storage.holders() != ONE_LOAN {
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
        let result = if held.is_empty() {
            Ok(())
        } else {
            self.abandon(&old, held)
        };
        if self.model != (MemoryModel::Revocable { restorable: true }) {
            let kind = self.lock().kind;
            self.replace(kind, None);
        }
        result
    }

    fn relocate(&self, to: Kind, hurried: &dyn Fn() -> bool) -> Result<(), Error> {
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

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(cut("short", 31), "short");
        assert_eq!(cut("ääää", 3), "ä");
        assert_eq!(cut("", 31), "");
    }
}
