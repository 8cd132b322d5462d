//! Memory for the guest's counters, of any kind.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Result;
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Access, DmaBuf, Mapping, Memfd, Piece, Udmabuf};

use super::STRIDE;

/// What kind of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A memfd of ordinary pages.
    Memfd,
    /// A memfd of huge pages.
    Huge,
    /// A udmabuf.
    Udmabuf,
    /// A buffer of the system heap.
    Heap,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memfd => "memfd",
            Self::Huge => "huge pages",
            Self::Udmabuf => "udmabuf",
            Self::Heap => "system heap",
        })
    }
}

/// Some memory of a kind.
#[derive(Debug)]
pub struct Backing {
    /// What kind.
    pub kind: Kind,
    memory: Memory,
    size: u64,
}

#[derive(Debug)]
enum Memory {
    Memfd(Memfd),
    DmaBuf(DmaBuf),
}

impl Backing {
    /// `size` zeroed bytes.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn new(kind: Kind, size: u64) -> Result<Self> {
        let options = Options {
            huge_pages: kind == Kind::Huge,
            ..Options::default()
        };
        let memory = match kind {
            Kind::Memfd | Kind::Huge => Memory::Memfd(Memfd::create("counters", size, options)?),
            Kind::Udmabuf => {
                let memfd = Memfd::create("counters", size, options)?;
                Memory::DmaBuf(Udmabuf::open()?.wrap(memfd)?)
            }
            Kind::Heap => Memory::DmaBuf(Heap::open("system")?.allocate(size)?),
        };
        Ok(Self { kind, memory, size })
    }

    /// All of it.
    #[must_use]
    pub fn piece(&self) -> Piece<'_> {
        Piece::new(self, 0, self.size)
    }

    /// A mapping of our own.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn map(&self, access: Access) -> Result<Mapping> {
        Ok(Mapping::of(&self.piece(), access)?)
    }

    /// Copies all of `from` here.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn copy_from(&self, from: &Self) -> Result<()> {
        let (source, target) = (from.map(Access::ReadOnly)?, self.map(Access::ReadWrite)?);
        Ok(target.view().copy_from_view(0, source.view())?)
    }

    /// The word at `at` of every page.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn words(&self, at: usize) -> Result<Vec<u32>> {
        let mapping = self.map(Access::ReadOnly)?;
        (0..mapping.len())
            .step_by(STRIDE as usize)
            .map(|page| Ok(mapping.view().read_at(page + at)?))
            .collect()
    }
}

impl AsFd for Backing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.memory {
            Memory::Memfd(memfd) => memfd.as_fd(),
            Memory::DmaBuf(buffer) => buffer.as_fd(),
        }
    }
}
