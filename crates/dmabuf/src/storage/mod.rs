//! The memory of one buffer, with the ledger of who reaches it.
//!
//! Shared memory can't be a Rust slice, but a decoder wants one. So the memory
//! goes into a [`Storage`], from which every way to it is counted:
//!
//! | Taken | Gives | While it lives |
//! |---|---|---|
//! | [`Storage::lend`] | [`Loan`]: the descriptor, for another party | no exclusive view |
//! | [`Storage::map`] | [`Bracketed`]: volatile bytes, within brackets | no exclusive view |
//! | [`Storage::exclusive`] | [`Exclusive`]: `&mut [u8]` | nothing else |
//!
//! A loan ends only with proof that the other party has let go ([`LetGo`]);
//! one that is dropped without keeps the memory shared for ever.
//!
//! Memory can be exclusive only if nobody could have reached it before it was
//! stored: the descriptor of its [`Memfd`] or [`DmaBuf`] was never borrowed.
//! The rest (buffers of others, a udmabuf beside its memfd) is stored as well,
//! and is always shared.

mod exclusive;
mod ledger;
mod line;
mod loan;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use exclusive::Exclusive;
pub use ledger::Holders;
pub(crate) use line::Line;
pub use loan::{LetGo, Loan};

use crate::bracketed::Bracketed;
use crate::dma_buf::{DmaBuf, DmaBufOps, Readiness};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::mapping::{Access, Mapping, Piece};
use crate::memfd::Memfd;
use crate::storage::ledger::Ledger;

/// What kind of memory a buffer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A memfd.
    Memfd,
    /// A dma-buf.
    DmaBuf,
}

/// The memory of one buffer. A clone is the same memory and the same ledger.
#[derive(Clone, Debug)]
pub struct Storage {
    inner: Arc<Inner>,
}

/// What the storage and everything taken from it share.
///
/// # Invariants
/// If `secluded`, then every way to the memory is `cpu`, or is on the ledger.
/// `cpu` is touched only by the one [`Exclusive`] that the ledger admits.
#[derive(Debug)]
struct Inner {
    memory: Memory,
    size: u64,
    identity: Identity,
    secluded: bool,
    ledger: Ledger,
    /// The mapping for exclusive use, kept so that taking it costs no mmap.
    cpu: OnceLock<Mapping>,
}

#[derive(Debug)]
enum Memory {
    Memfd(Memfd),
    DmaBuf(Arc<DmaBuf>),
}

impl Storage {
    /// Stores a memfd's memory. It can become exclusive if the memfd's
    /// descriptor was never borrowed.
    ///
    /// # Errors
    /// [`Error::Sys`] if the kernel doesn't tell what it is.
    pub fn from_memfd(memfd: Memfd) -> Result<Self> {
        let (size, identity) = (memfd.size()?, memfd.identity()?);
        let secluded = memfd.is_secluded();
        Ok(Self::new(Memory::Memfd(memfd), size, identity, secluded))
    }

    /// Stores a dma-buf's memory. It can become exclusive if the dma-buf is
    /// fresh from a [heap](crate::heap::Heap::allocate), or
    /// [wraps](crate::Udmabuf::wrap) a memfd that was never borrowed, and was
    /// never borrowed itself.
    ///
    /// # Errors
    /// [`Error::Sys`] if the kernel doesn't tell what it is.
    pub fn from_dmabuf(buffer: DmaBuf) -> Result<Self> {
        let secluded = buffer.is_secluded();
        Self::of_dmabuf(buffer, secluded)
    }

    /// Stores a dma-buf of somebody else's, which is never exclusive.
    ///
    /// # Errors
    /// [`Error::Sys`] if the kernel doesn't tell what it is.
    pub fn from_foreign_dmabuf(buffer: DmaBuf) -> Result<Self> {
        Self::of_dmabuf(buffer, false)
    }

    fn of_dmabuf(buffer: DmaBuf, secluded: bool) -> Result<Self> {
        let (size, identity) = (buffer.size()?, buffer.identity()?);
        Ok(Self::new(
            Memory::DmaBuf(Arc::new(buffer)),
            size,
            identity,
            secluded,
        ))
    }

    fn new(memory: Memory, size: u64, identity: Identity, secluded: bool) -> Self {
        let inner = Inner {
            memory,
            size,
            identity,
            secluded,
            ledger: Ledger::default(),
            cpu: OnceLock::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Its size in bytes when it was stored.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    /// Which memory it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// What kind of memory it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.inner.memory {
            Memory::Memfd(_) => Kind::Memfd,
            Memory::DmaBuf(_) => Kind::DmaBuf,
        }
    }

    /// What can be done with the dma-buf, if it is one: fences, names. Not its
    /// descriptor: that is only to be had by a [`Loan`].
    #[must_use]
    pub fn dma_buf(&self) -> Option<&DmaBufOps> {
        self.inner.dma_buf()
    }

    /// Whether it can ever be exclusive.
    #[must_use]
    pub fn can_be_exclusive(&self) -> bool {
        self.inner.secluded
    }

    /// Whether the kernel can pin its pages for a device: a memfd's, and those of
    /// a udmabuf that [kept its memfd](crate::Udmabuf::wrap_keeping).
    #[must_use]
    pub fn is_pinnable(&self) -> bool {
        self.inner.pages().is_some()
    }

    /// Who reaches it now.
    #[must_use]
    pub fn holders(&self) -> Holders {
        self.inner.ledger.holders()
    }

    /// Lends its descriptor, to be sent to another party or mapped there.
    ///
    /// # Errors
    /// [`Error::InUse`] while somebody has it exclusively.
    pub fn lend(&self) -> Result<Loan> {
        self.inner.ledger.add_loan()?;
        Ok(Loan::new(Arc::clone(&self.inner)))
    }

    /// Maps all of it into this process, shared.
    ///
    /// # Errors
    /// [`Error::InUse`] while somebody has it exclusively, and those of
    /// [`Mapping::of`].
    pub fn map(&self, access: Access) -> Result<Bracketed> {
        // Counted first, so that nobody becomes exclusive in between; `line`
        // takes it back if mapping fails.
        let line = Line::new(Arc::clone(&self.inner))?;
        let buffer = match &self.inner.memory {
            Memory::DmaBuf(buffer) => Some(Arc::clone(buffer)),
            Memory::Memfd(_) => None,
        };
        let memory = Bracketed::new(self.inner.map_all(access)?, buffer)?;
        Ok(memory.counted_by(line))
    }

    /// Takes all of it exclusively, as a slice; the CPU access of a dma-buf is
    /// begun, after its fences, which are waited for until `deadline`, or as long
    /// as it takes. While it lives, nothing is lent or mapped.
    ///
    /// # Errors
    /// [`Error::Foreign`] if it can never be exclusive, [`Error::InUse`] if
    /// somebody else reaches it now, [`Error::Fenced`], [`Error::Sys`] as the
    /// exporter answers, and those of [`Mapping::of`].
    pub fn exclusive(&self, deadline: Option<Instant>) -> Result<Exclusive> {
        if !self.inner.secluded {
            return Err(Error::Foreign);
        }
        // Others may lend and map it meanwhile.
        if let Some(buffer) = self.inner.dma_buf() {
            buffer.wait_until_ready(Readiness::Write, deadline)?;
        }
        Exclusive::new(Arc::clone(&self.inner))
    }
}

impl Storage {
    /// Copies all bytes to `to`, which is as large, as the CPU finds them: for
    /// memory with a device that does not end, which is not waited for. What that
    /// device writes may be there in part; the kernel is told of no access, since
    /// it would wait too.
    ///
    /// # Errors
    /// Those of [`Storage::map`], of a bracket that writes `to`, and
    /// [`Error::Gone`].
    pub fn salvage(&self, to: &Self) -> Result<()> {
        let (source, target) = (self.map(Access::ReadOnly)?, to.map(Access::ReadWrite)?);
        let writing = target.write(Duration::ZERO)?;
        writing.view().copy_from_view(0, source.unready())?;
        if source.is_gone() {
            return Err(Error::Gone);
        }
        writing.end()
    }

    /// Takes the memory away from everybody who has its descriptor or maps it,
    /// in any process: they meet zeros from now on. Its bytes are lost.
    ///
    /// # Errors
    /// [`Error::NotSeverable`] for a dma-buf: whoever maps it keeps its pages.
    /// [`Error::InUse`] while somebody has it exclusively: a slice can't change
    /// under its owner. [`Error::Sys`].
    pub fn sever(&self) -> Result<()> {
        let Memory::Memfd(memfd) = &self.inner.memory else {
            return Err(Error::NotSeverable);
        };
        // A mapping's line on the ledger keeps exclusive use out meanwhile.
        self.inner.ledger.add_mapping()?;
        let result = memfd.punch_hole(0, self.inner.size);
        self.inner.ledger.drop_mapping();
        result
    }
}

impl Inner {
    fn dma_buf(&self) -> Option<&DmaBufOps> {
        match &self.memory {
            Memory::DmaBuf(buffer) => Some(buffer),
            Memory::Memfd(_) => None,
        }
    }

    /// The descriptor, for this module's own mappings and for loans.
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        match &self.memory {
            Memory::Memfd(memfd) => memfd.quietly(),
            Memory::DmaBuf(buffer) => buffer.quietly(),
        }
    }

    /// A descriptor through whose mapping the kernel can pin the pages.
    fn pages(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match &self.memory {
            Memory::Memfd(memfd) => Some(memfd.quietly()),
            Memory::DmaBuf(buffer) => buffer.pages(),
        }
    }

    fn map_all(&self, access: Access) -> Result<Mapping> {
        let fd = self.descriptor();
        Mapping::of(&Piece::new(&fd, 0, self.size), access)
    }
}

#[cfg(test)]
mod tests;
