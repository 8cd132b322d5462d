//! Memory that another program of this host handed over: a dma-buf or a memfd.
//!
//! Its owner goes on reaching it, so it is never exclusive; a dma-buf's CPU
//! access is bracketed through its own exporter. It is pinned unless made
//! revocable; taken away, it is taken from our importers and not from its owner,
//! and whoever can't be cut off is named, since the owner's memory is not ours to
//! empty. How it is cached is for the
//! caller to find out: this crate asks no kernel about it.

use landbridge_dmabuf::{Access, Bracketed, DmaBuf, Identity, Memfd, Storage};

use crate::caching::KnownCaching;
use crate::error::Error;
use crate::exporter::Exporter;
use crate::ranges::{GuestPhysical, RangeList};
use crate::terms::{MemoryModel, Offer};

const DMA_BUF: &str = "shared dma-buf";
const MEMFD: &str = "shared memfd";
const PAGE: u64 = 4096;

/// Memory that another program of this host handed over.
#[derive(Debug)]
pub struct ForeignMemory {
    name: &'static str,
    origin: Option<String>,
    storage: Storage,
    model: MemoryModel,
    caching: Option<KnownCaching>,
    writable: bool,
}

impl ForeignMemory {
    /// A dma-buf, and how CPU mappings of it are cached; `None` where nobody
    /// knows, and then no guest can map it.
    pub fn dma_buf(buffer: DmaBuf, caching: Option<KnownCaching>) -> Result<Self, Error> {
        let (writable, origin) = (buffer.is_writable()?, buffer.exporter_name().ok());
        let storage = Storage::from_foreign_dmabuf(buffer)?;
        Self {
            name: DMA_BUF,
            origin,
            storage,
            model: MemoryModel::Pinned,
            caching,
            writable,
        }
        .checked()
    }

    /// A memfd that can't shrink, likewise. One of huge pages is refused: a
    /// window's places are of small ones.
    pub fn memfd(memfd: Memfd, caching: Option<KnownCaching>) -> Result<Self, Error> {
        if memfd.granule()? != PAGE {
            let reason = "it is made of huge pages; a udmabuf of it is not";
            return Err(refuse(MEMFD, reason.to_owned()));
        }
        let (writable, origin) = (memfd.is_writable()?, Some(memfd.name().to_owned()));
        Self {
            name: MEMFD,
            origin,
            storage: Storage::from_memfd(memfd)?,
            model: MemoryModel::Pinned,
            caching,
            writable,
        }
        .checked()
    }

    /// The same memory, which may be taken from importers and given back.
    #[must_use]
    pub fn revocable(self) -> Self {
        Self {
            model: MemoryModel::Revocable { restorable: true },
            ..self
        }
    }

    fn checked(self) -> Result<Self, Error> {
        let size = self.storage.size();
        if size == 0 || !size.is_multiple_of(PAGE) {
            return Err(refuse(
                self.name,
                format!("{size:#x} bytes are not whole pages"),
            ));
        }
        Ok(self)
    }
}

fn refuse(exporter: &'static str, reason: String) -> Error {
    Error::Export { exporter, reason }
}

impl Exporter for ForeignMemory {
    fn name(&self) -> &'static str {
        self.name
    }

    fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    fn size(&self) -> u64 {
        self.storage.size()
    }

    fn offer(&self) -> Offer {
        Offer {
            model: self.model,
            cpu: true,
            caching: self.caching,
            writable: self.writable,
            descriptor: true,
            ..Offer::NOTHING
        }
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.storage.identity())
    }

    fn map(&self, access: Access) -> Result<Bracketed, Error> {
        Ok(self.storage.map(access)?)
    }

    fn storage(&self) -> Option<Storage> {
        Some(self.storage.clone())
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }
}
