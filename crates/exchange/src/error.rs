//! What can go wrong in the exchange, and whose fault it is.

use landbridge_dmabuf::{Error as Memory, Identity};

use crate::caching::KnownCaching;
use crate::importers::window::WindowError;
use crate::registry::UuidError;
use crate::reservation::WaitTimeout;
use crate::tenant::OverLimit;
use crate::terms::Refusal;

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
            | Self::TwoCachings { .. } => Fault::Asker,
            Self::Window(error) => error.fault(),
            Self::Timeout(_) => Fault::Peer,
            Self::Memory(error) => fault_of_memory(error),
        }
    }

    /// Whether the same call may succeed later with nothing else changed by
    /// its caller.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Memory(error) => error.may_pass(),
            Self::Window(error) => error.may_pass(),
            Self::Refused(_)
            | Self::OverLimit(_)
            | Self::Uuid(_)
            | Self::Export { .. }
            | Self::TwoCachings { .. } => false,
        }
    }
}

fn fault_of_memory(error: &Memory) -> Fault {
    match error {
        Memory::InUse { .. } | Memory::Timeout | Memory::Gated => Fault::Peer,
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
