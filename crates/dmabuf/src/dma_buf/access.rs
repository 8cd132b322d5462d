//! Bracketing CPU access, so that caches and fences are right:
//! `DMA_BUF_IOCTL_SYNC`.

use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use crate::dma_buf::{DmaBuf, DmaBufOps, Readiness};
use crate::error::Result;
use crate::sys;
use crate::sys::uapi::{SYNC_END, SYNC_READ, SYNC_WRITE};

/// What the CPU is going to do with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Only read: waits for whoever writes.
    Read,
    /// Only write: waits for everybody.
    Write,
    /// Both: waits for everybody.
    ReadWrite,
}

impl Direction {
    /// One that reads and writes as said; `None` if it would do neither.
    pub(crate) fn of(reads: bool, writes: bool) -> Option<Self> {
        match (reads, writes) {
            (false, false) => None,
            (true, false) => Some(Self::Read),
            (false, true) => Some(Self::Write),
            (true, true) => Some(Self::ReadWrite),
        }
    }

    /// Whether it reads.
    #[must_use]
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it writes.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Self::Read
    }

    pub(crate) fn bits(self) -> u64 {
        match self {
            Self::Read => SYNC_READ,
            Self::Write => SYNC_WRITE,
            Self::ReadWrite => SYNC_READ | SYNC_WRITE,
        }
    }

    pub(crate) fn readiness(self) -> Readiness {
        match self {
            Self::Read => Readiness::Read,
            Self::Write | Self::ReadWrite => Readiness::Write,
        }
    }
}

/// CPU access that has begun and must end. End it with [`CpuAccess::end`];
/// dropping it ends it too, but can't tell if that failed.
#[derive(Debug)]
#[must_use = "the access ends when this is dropped"]
pub struct CpuAccess<'a> {
    /// `None` for memory that needs no bracket, or once it has ended.
    buffer: Option<Held<'a>>,
    direction: Direction,
}

/// The dma-buf of an access: somebody else's, or one that the access keeps.
#[derive(Debug)]
enum Held<'a> {
    Borrowed(&'a DmaBufOps),
    Kept(Arc<DmaBuf>),
}

impl Deref for Held<'_> {
    type Target = DmaBufOps;

    fn deref(&self) -> &DmaBufOps {
        match self {
            Self::Borrowed(buffer) => buffer,
            Self::Kept(buffer) => buffer,
        }
    }
}

impl DmaBufOps {
    /// Begins CPU access: waits for the fences that forbid it, then makes
    /// devices' writes visible. Access through a mapping is right only within
    /// the guard.
    ///
    /// This waits for as long as a device takes; see
    /// [`begin_access_by`](Self::begin_access_by).
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys), as the exporter answers.
    pub fn begin_access(&self, direction: Direction) -> Result<CpuAccess<'_>> {
        self.sync(direction.bits())?;
        Ok(CpuAccess {
            buffer: Some(Held::Borrowed(self)),
            direction,
        })
    }

    /// Begins CPU access, or gives up at `deadline`. A device that takes the
    /// buffer between the wait and the access still makes this wait for it.
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout), or as
    /// [`begin_access`](Self::begin_access).
    pub fn begin_access_by(
        &self,
        direction: Direction,
        deadline: Instant,
    ) -> Result<CpuAccess<'_>> {
        self.wait_until_ready(direction.readiness(), Some(deadline))?;
        self.begin_access(direction)
    }

    /// Starts or ends, as `flags` say.
    pub(crate) fn sync(&self, flags: u64) -> Result<()> {
        sys::ioctl::dma_buf_sync(self.quietly().as_fd(), flags)
    }
}

impl CpuAccess<'_> {
    /// The guard of memory that is always coherent, such as a memfd's.
    pub fn unneeded(direction: Direction) -> Self {
        Self {
            buffer: None,
            direction,
        }
    }

    /// Begins access to a dma-buf that the access keeps alive itself.
    pub(crate) fn keeping(buffer: Arc<DmaBuf>, direction: Direction) -> Result<CpuAccess<'static>> {
        buffer.sync(direction.bits())?;
        Ok(CpuAccess {
            buffer: Some(Held::Kept(buffer)),
            direction,
        })
    }

    /// What it allows.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Ends the access: makes the CPU's writes visible to devices.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys): devices may not see what was written.
    pub fn end(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        match self.buffer.take() {
            Some(buffer) => buffer.sync(self.direction.bits() | SYNC_END),
            None => Ok(()),
        }
    }
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        // Nobody is left to tell; whoever cares calls `end`.
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_the_kernels_bits() {
        assert_eq!(Direction::Read.bits(), 1);
        assert_eq!(Direction::Write.bits(), 2);
        assert_eq!(Direction::ReadWrite.bits(), 3);
    }

    #[test]
    fn writing_waits_for_readers_too() {
        assert_eq!(Direction::Read.readiness(), Readiness::Read);
        assert_eq!(Direction::Write.readiness(), Readiness::Write);
        assert_eq!(Direction::ReadWrite.readiness(), Readiness::Write);
    }
}
