//! An exporter and a guest's memory for tests.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Access, Bracketed, Identity, Memfd, Storage};

use crate::caching::{Caching, CachingSource, KnownCaching};
use crate::error::Error;
use crate::exporter::Exporter;
use crate::exporters::guest_pages::{GuestMemory, GuestPiece, NotGuestMemory};
use crate::exporters::joiner::Joiner;
use crate::ranges::{File, GuestPhysical, Range, RangeList, RangeSlice};
use crate::terms::{MemoryModel, Offer};

const NAME: &str = "fake";

/// An exporter that offers whatever it is told to, whether it has it or not: a
/// test aid.
#[derive(Debug, Clone)]
pub struct FakeExporter {
    size: u64,
    offer: Offer,
    storage: Option<Storage>,
    ranges: Option<RangeList<GuestPhysical>>,
}

impl FakeExporter {
    /// Everything that can be offered at once.
    pub const EVERYTHING: Offer = Offer {
        model: MemoryModel::Pinned,
        cpu: true,
        caching: Some(KnownCaching {
            caching: Caching::WriteBack,
            source: CachingSource::Rule("the fake says so"),
        }),
        writable: true,
        exclusive: true,
        descriptor: true,
        ranges: true,
        pages: true,
        dma: true,
        snooped: Some(true),
        ..Offer::NOTHING
    };

    /// A buffer of `size` bytes without any memory.
    pub fn new(size: u64, offer: Offer) -> Self {
        Self {
            size,
            offer,
            storage: None,
            ranges: None,
        }
    }

    /// A buffer with this memory, which the test may keep a clone of.
    pub fn with_storage(storage: Storage, offer: Offer) -> Self {
        Self {
            storage: Some(storage.clone()),
            ..Self::new(storage.size(), offer)
        }
    }

    /// The same with these ranges.
    #[must_use]
    pub fn and_ranges(self, ranges: RangeList<GuestPhysical>) -> Self {
        Self {
            ranges: Some(ranges),
            ..self
        }
    }
}

impl Exporter for FakeExporter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn offer(&self) -> Offer {
        self.offer
    }

    fn identity(&self) -> Option<Identity> {
        self.storage.as_ref().map(Storage::identity)
    }

    fn map(&self, access: Access) -> Result<Bracketed, Error> {
        let storage = self.storage.as_ref().ok_or_else(|| Error::Export {
            exporter: NAME,
            reason: "it has no memory".to_owned(),
        })?;
        Ok(storage.map(access)?)
    }

    fn storage(&self) -> Option<Storage> {
        self.storage.clone()
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        self.ranges.as_ref()
    }
}

/// Joins ranges as long as they are few: a test aid. The memory that it makes
/// is none of theirs.
#[derive(Debug)]
pub struct FakeJoiner {
    /// The most ranges that it joins.
    pub most: usize,
}

impl Joiner for FakeJoiner {
    fn join(&self, files: RangeSlice<'_, File>) -> Result<Storage, landbridge_dmabuf::Error> {
        let count = files.ranges().count();
        if count > self.most {
            return Err(landbridge_dmabuf::Error::OverLimit {
                what: "ranges of a fake",
                asked: count as u64,
                limit: self.most as u64,
            });
        }
        Storage::from_memfd(Memfd::create("joined", files.size(), Options::default())?)
    }
}

/// A guest's memory made of memfds: a test aid.
#[derive(Debug, Default)]
pub struct FakeGuestMemory {
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    start: u64,
    len: u64,
    file: Arc<OwnedFd>,
}

impl FakeGuestMemory {
    /// Adds `len` bytes at `start` with a file of their own: whole pages that
    /// overlap nothing.
    pub fn add(&mut self, start: u64, len: u64) -> Result<(), Error> {
        let memfd = Memfd::create("fake guest memory", len, Options::default())?;
        self.regions.push(Region {
            start,
            len,
            file: Arc::new(memfd.into()),
        });
        self.regions.sort_by_key(|region| region.start);
        Ok(())
    }
}

impl GuestMemory for FakeGuestMemory {
    fn resolve(&self, range: Range<GuestPhysical>) -> Result<Vec<GuestPiece>, NotGuestMemory> {
        let mut pieces = Vec::new();
        let mut at = range.start();
        for region in &self.regions {
            let end = range.end().min(region.start + region.len);
            if at < region.start || at >= end {
                continue;
            }
            pieces.push(GuestPiece {
                file: Arc::clone(&region.file),
                offset: at - region.start,
                len: end - at,
            });
            at = end;
        }
        if at == range.end() {
            Ok(pieces)
        } else {
            Err(NotGuestMemory(range))
        }
    }
}
