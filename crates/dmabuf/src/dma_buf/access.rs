//! What CPU access is told to the kernel as: `DMA_BUF_IOCTL_SYNC`. The access
//! itself is a [`Bracket`](crate::Bracket).

use crate::dma_buf::{DmaBufOps, Readiness};
use crate::error::Result;
use crate::sys;
use crate::sys::uapi::{SYNC_READ, SYNC_WRITE};

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

impl DmaBufOps {
    /// Starts or ends, as `flags` say. A start waits for fences without a limit,
    /// so that whoever calls this has waited for them before.
    pub(crate) fn sync(&self, flags: u64) -> Result<()> {
        sys::ioctl::dma_buf_sync(self.quietly(), flags)
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
