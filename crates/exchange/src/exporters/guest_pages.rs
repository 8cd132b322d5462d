//! Pages that a guest brought: a virtio-gpu backing list.
//!
//! The list's guest-physical ranges are merged, and resolved to the files behind
//! the guest's memory. Where a [`Joiner`] can, they become one dma-buf, which
//! goes wherever dma-bufs go; else they are stitched together in one contiguous
//! CPU view. Both are the guest's own pages: nothing is copied.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use landbridge_dmabuf::{Access, Bracketed, Identity, Storage};

use crate::caching::{Caching, CachingSource, KnownCaching};
use crate::error::Error;
use crate::exporter::Exporter;
use crate::exporters::joiner::Joiner;
use crate::ranges::{BadRange, Contents, File, GuestPhysical, Notes, Provider, Range, RangeList};
use crate::terms::{MemoryModel, Offer};

const NAME: &str = "guest pages";
const JOINED_NAME: &str = "udmabuf of guest pages";
const PAGE: u64 = 4096;

const CACHING: KnownCaching = KnownCaching {
    caching: Caching::WriteBack,
    source: CachingSource::Rule("guest memory is page cache of this host"),
};

/// What is said of a guest's pages.
const NOTES: Notes = Notes {
    provider: Provider::Guest,
    contents: Contents::Shared { cpu: Some(CACHING) },
    peer_to_peer: false,
    snooped: true,
};

/// A part of a file that backs a guest's memory.
#[derive(Debug, Clone)]
pub struct GuestPiece {
    /// The file, as the VMM handed it over.
    pub file: Arc<OwnedFd>,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// A range that is not, or not wholly, in the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not guest memory")]
pub struct NotGuestMemory(pub Range<GuestPhysical>);

/// A guest's memory as the VMM told it: the memory table, windows of other
/// devices included.
///
/// # Implementers
/// The pieces come in the order of the range's addresses and their lengths sum
/// up to the range's.
pub trait GuestMemory: Send + Sync {
    /// The files behind a range.
    fn resolve(&self, range: Range<GuestPhysical>) -> Result<Vec<GuestPiece>, NotGuestMemory>;
}

/// Pages that a guest brought.
#[derive(Debug)]
pub struct GuestPages {
    // Field order: a dma-buf of the files goes before them, so that whoever
    // handed them out knows for as long that they are in use.
    joined: Joined,
    ranges: RangeList<GuestPhysical>,
    /// The same bytes in the files behind them.
    files: RangeList<File>,
    size: u64,
}

/// Whether the pages are one dma-buf.
#[derive(Debug)]
enum Joined {
    /// Nobody asked.
    Untried,
    Yes(Storage),
    /// Why not.
    No(String),
}

impl GuestPages {
    /// The first `size` bytes of the guest's pages in `ranges`. The ranges must
    /// be whole pages of the guest's memory and hold at least `size` bytes;
    /// one page may occur more than once.
    pub fn new(
        memory: &dyn GuestMemory,
        ranges: RangeList<GuestPhysical>,
        size: u64,
    ) -> Result<Self, Error> {
        if size == 0 || ranges.size() < size {
            return Err(refuse(format!(
                "{size:#x} bytes do not fit the {:#x} bytes of the backing list",
                ranges.size()
            )));
        }
        let mut guest = RangeList::new(GuestPhysical, NOTES);
        let mut files: Option<RangeList<File>> = None;
        for range in ranges.as_slice() {
            if !range.start().is_multiple_of(PAGE) || !range.len().is_multiple_of(PAGE) {
                return Err(refuse(format!("{range} is not whole pages")));
            }
            let resolved = memory.resolve(*range);
            let resolved = resolved.map_err(|error| refuse(error.to_string()))?;
            let sum = resolved
                .iter()
                .try_fold(0, |sum: u64, piece| sum.checked_add(piece.len));
            if sum != Some(range.len()) {
                return Err(refuse(format!("the files behind {range} do not fill it")));
            }
            let bad = |error: BadRange| refuse(error.to_string());
            for piece in resolved {
                let file = File::new(piece.file);
                let files = files.get_or_insert_with(|| RangeList::new(file.clone(), NOTES));
                files.begin_run(file, NOTES);
                files
                    .push(Range::new(piece.offset, piece.len).map_err(bad)?)
                    .map_err(bad)?;
            }
            guest.push(*range).map_err(bad)?;
        }
        let files = files.ok_or_else(|| refuse("there are no pages".to_owned()))?;
        Ok(Self {
            joined: Joined::Untried,
            ranges: guest,
            files,
            size,
        })
    }

    /// The same pages as one dma-buf, if `joiner` can make it. If not, they
    /// stay what they are, and [`Exporter::note`] says why.
    #[must_use]
    pub fn joined_by(mut self, joiner: &dyn Joiner) -> Self {
        let whole = self.files.slice(0, self.size);
        let whole = whole.filter(|_| self.size.is_multiple_of(PAGE));
        self.joined = match whole.map(|files| joiner.join(files)) {
            Some(Ok(storage)) => Joined::Yes(storage),
            Some(Err(error)) => Joined::No(format!("no dma-buf: {error}")),
            None => Joined::No("no dma-buf: it is not whole pages".to_owned()),
        };
        self
    }

    fn joined(&self) -> Option<&Storage> {
        match &self.joined {
            Joined::Yes(storage) => Some(storage),
            Joined::Untried | Joined::No(_) => None,
        }
    }

    /// The same bytes in the files behind the guest's pages; at least
    /// [`size`](Exporter::size) of them.
    pub fn files(&self) -> &RangeList<File> {
        &self.files
    }
}

fn refuse(reason: String) -> Error {
    Error::Export {
        exporter: NAME,
        reason,
    }
}

impl Exporter for GuestPages {
    fn name(&self) -> &'static str {
        match self.joined() {
            Some(_) => JOINED_NAME,
            None => NAME,
        }
    }

    fn note(&self) -> Option<&str> {
        match &self.joined {
            Joined::No(reason) => Some(reason),
            Joined::Untried | Joined::Yes(_) => None,
        }
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn offer(&self) -> Offer {
        Offer {
            model: MemoryModel::Pinned,
            cpu: true,
            caching: Some(CACHING),
            writable: true,
            // The guest reaches its own pages whenever it likes.
            exclusive: false,
            descriptor: self.joined().is_some(),
            ranges: true,
            ..Offer::NOTHING
        }
    }

    fn identity(&self) -> Option<Identity> {
        if let Some(storage) = self.joined() {
            return Some(storage.identity());
        }
        // One file, or none that stands for the whole.
        match self.files.runs() {
            [run] => Identity::of(run.space()).ok(),
            _ => None,
        }
    }

    fn map(&self, access: Access) -> Result<Bracketed, Error> {
        if let Some(storage) = self.joined() {
            return Ok(storage.map(access)?);
        }
        let missing = || refuse("it can't be mapped".to_owned());
        let pages = self.files.all().cpu().ok_or_else(missing)?;
        let size = usize::try_from(self.size).map_err(|_| refuse("it is too large".to_owned()))?;
        Ok(Bracketed::plain(pages.map(access)?.first(size)?)?)
    }

    fn storage(&self) -> Option<Storage> {
        self.joined().cloned()
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        Some(&self.ranges)
    }
}
