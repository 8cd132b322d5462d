//! What can go wrong in the exchange, and whose fault it is.

use std::time::Duration;

use landbridge_dmabuf::{Error as Memory, Identity};

use crate::buffer::BufferId;
use crate::caching::KnownCaching;
use crate::importers::window::WindowError;
use crate::registry::UuidError;
use crate::reservation::{Life, WaitTimeout};
use crate::tenant::OverLimit;
use crate::terms::{MemoryModel, Refusal};

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The one who asked: a guest or a client asked for what can't be.
    Asker,
    /// Another user of the same buffer, who holds it too long.
    Peer,
    /// This machine: out of memory, a device missing, a system call failed.
    Host,
}

/// What can go wrong in the exchange.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Exporter and importer found no terms.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A tenant's limit was reached.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// Other users' work did not end in time; a retry can help.
    #[error(transparent)]
    Timeout(#[from] WaitTimeout),
    /// A UUID was refused.
    #[error(transparent)]
    Uuid(#[from] UuidError),
    /// A guest's window refused a mapping.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// An exporter can't be what was asked for.
    #[error("{exporter} can't export this: {reason}")]
    Export {
        /// Which exporter.
        exporter: &'static str,
        /// Why not.
        reason: String,
    },
    /// The same memory is in use, cached otherwise.
    #[error("memory {identity} is {used} for others and can't be {asked} as well")]
    TwoCachings {
        /// Which memory.
        identity: Identity,
        /// How those who use it have it.
        used: KnownCaching,
        /// How it was to be had.
        asked: KnownCaching,
    },
    /// The buffer's owner has taken the memory away. A retry can help where it
    /// may come back.
    #[error("buffer {buffer} is {life}")]
    Revoked {
        /// Which buffer.
        buffer: BufferId,
        /// What became of its memory.
        life: Life,
    },
    /// The exporter promised not to do this to its memory.
    #[error("the memory is {0}: its exporter has promised that it stays as it is")]
    Promised(MemoryModel),
    /// The memory can't be moved while importers have it pinned; a retry can
    /// help.
    #[error("the memory is pinned by {}", by.join(", "))]
    Pinned {
        /// Who.
        by: Vec<String>,
    },
    /// Something else was happening to the memory for too long; a retry can
    /// help.
    #[error("the memory is {0}, which took too long")]
    Busy(Life),
    /// The memory was revoked, and somebody could not be cut off.
    #[error("{exporter} can't take its memory from {}", by.join(", "))]
    StillHeld {
        /// Whose memory.
        exporter: &'static str,
        /// Who may still reach it.
        by: Vec<String>,
    },
    /// Memory is moved too often; a retry can help.
    #[error("at most {rate} bytes are moved in a second: the next may be in {retry_after:?}")]
    MoveRate {
        /// The limit in bytes a second.
        rate: u64,
        /// When a move is possible again.
        retry_after: Duration,
    },
    /// A call into the kernel that takes memory away hangs: somebody who holds the
    /// memory has not let go, a fence of a dma-buf say. It goes on, and others
    /// are refused until it is done; a retry can help.
    #[error("the kernel waits for who holds the device's memory: not done in {limit:?}")]
    Stuck {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The memory could not be allocated, mapped or bracketed.
    #[error(transparent)]
    Memory(#[from] Memory),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused(_)
            | Self::OverLimit(_)
            | Self::Uuid(_)
            | Self::Export { .. }
            | Self::TwoCachings { .. }
            | Self::Promised(_)
            | Self::MoveRate { .. } => Fault::Asker,
            Self::Window(error) => error.fault(),
            Self::Timeout(_)
            | Self::Revoked { .. }
            | Self::Pinned { .. }
            | Self::Stuck { .. }
            | Self::Busy(_) => Fault::Peer,
            Self::StillHeld { .. } => Fault::Host,
            Self::Memory(error) => fault_of_memory(error),
        }
    }

    /// Whether the same call may succeed once its caller has given up something
    /// else.
    pub fn lacks_room(&self) -> bool {
        matches!(
            self,
            Self::OverLimit(_) | Self::Window(WindowError::TooMany)
        )
    }

    /// Whether the same call may succeed later with nothing else changed by
    /// its caller.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Timeout(_)
            | Self::Pinned { .. }
            | Self::Stuck { .. }
            | Self::Busy(_)
            | Self::MoveRate { .. } => true,
            Self::Revoked { life, .. } => *life != Life::Revoked { restorable: false },
            Self::Memory(error) => error.may_pass(),
            Self::Window(error) => error.may_pass(),
            Self::Refused(_)
            | Self::OverLimit(_)
            | Self::Uuid(_)
            | Self::Export { .. }
            | Self::TwoCachings { .. }
            | Self::Promised(_)
            | Self::StillHeld { .. } => false,
        }
    }
}

fn fault_of_memory(error: &Memory) -> Fault {
    match error {
        Memory::InUse { .. }
        | Memory::Timeout
        | Memory::Fenced { .. }
        | Memory::Gated
        | Memory::Revoked => Fault::Peer,
        Memory::OutOfBounds { .. }
        | Memory::Empty { .. }
        | Memory::Misaligned { .. }
        | Memory::LengthMismatch { .. }
        | Memory::NotADmaBuf
        | Memory::NotAMemfd
        | Memory::NotASyncFile
        | Memory::ReadOnly
        | Memory::CanShrink
        | Memory::Unsuitable { .. }
        | Memory::OverLimit { .. }
        | Memory::BadName { .. }
        | Memory::Foreign
        | Memory::Vacant { .. }
        | Memory::Occupied { .. }
        | Memory::OffsetNotHonoured { .. } => Fault::Asker,
        // The rest is this machine's: a device that is missing, a system call
        // that failed.
        _ => Fault::Host,
    }
}
