//! Memory of this host: a sealed memfd, a udmabuf over one, or a dma-heap.

use std::fmt;

use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Access, CpuAccess as Bracket, Identity, Memfd, Storage, Udmabuf};

use crate::caching::{Caching, CachingSource, KnownCaching};
use crate::error::Error;
use crate::exporter::{Exporter, Memory};
use crate::ranges::{GuestPhysical, RangeList};
use crate::terms::{Direction, MemoryModel, Offer};

/// What kind of memory of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sealed memfd: on every machine, but no dma-buf.
    Memfd,
    /// A dma-buf over a memfd's pages; needs /dev/udmabuf.
    Udmabuf,
    /// A dma-buf of the system heap; needs /dev/dma_heap/system.
    SystemHeap,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Memfd => "memfd",
            Self::Udmabuf => "udmabuf",
            Self::SystemHeap => "system heap",
        }
    }

    /// How it is cached by rule: what it is made of leaves no choice.
    pub fn caching(self) -> KnownCaching {
        KnownCaching {
            caching: Caching::WriteBack,
            source: CachingSource::Rule(match self {
                Self::Memfd => "a memfd's pages are page cache",
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

/// Memory of this host, zeroed, pinned while it lives.
#[derive(Debug)]
pub struct HostMemory {
    kind: Kind,
    caching: KnownCaching,
    storage: Storage,
}

impl HostMemory {
    /// Allocates `size` bytes of this kind: a multiple of the page size, not 0.
    /// `name` is shown by the kernel's tools; what exceeds 31 bytes is cut.
    pub fn allocate(name: &str, size: u64, kind: Kind) -> Result<Self, Error> {
        let name = cut(name, 31);
        let storage = match kind {
            Kind::Memfd => Storage::from_memfd(memfd(name, size)?)?,
            Kind::Udmabuf => {
                let buffer = Udmabuf::open()?.wrap(memfd(name, size)?)?;
                buffer.set_name(name)?;
                Storage::from_dmabuf(buffer)?
            }
            Kind::SystemHeap => {
                let buffer = Heap::open("system")?.allocate(size)?;
                buffer.set_name(name)?;
                Storage::from_dmabuf(buffer)?
            }
        };
        Ok(Self {
            kind,
            caching: kind.caching(),
            storage,
        })
    }

    /// The same memory, whose caching somebody looked at. It must be that of
    /// every memory of this kind, or of this one.
    #[must_use]
    pub fn with_caching(mut self, caching: KnownCaching) -> Self {
        self.caching = caching;
        self
    }
}

fn memfd(name: &str, size: u64) -> Result<Memfd, landbridge_dmabuf::Error> {
    Memfd::create(name, size, Options::default())
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
        self.kind.name()
    }

    fn size(&self) -> u64 {
        self.storage.size()
    }

    fn offer(&self) -> Offer {
        Offer {
            model: MemoryModel::Pinned,
            cpu: true,
            caching: Some(self.caching),
            writable: true,
            exclusive: self.storage.can_be_exclusive(),
            descriptor: true,
            ..Offer::NOTHING
        }
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.storage.identity())
    }

    fn map(&self, access: Access) -> Result<Memory, Error> {
        Ok(Memory::Shared(self.storage.map(access)?))
    }

    fn begin_access(&self, direction: Direction) -> Result<Bracket<'_>, Error> {
        Ok(self.storage.begin_access(direction.into())?)
    }

    fn storage(&self) -> Option<Storage> {
        Some(self.storage.clone())
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(cut("short", 31), "short");
        assert_eq!(cut("ääää", 3), "ä");
        assert_eq!(cut("", 31), "");
    }
}
