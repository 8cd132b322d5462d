//! Why a window refused a mapping, and whose fault that is.

use crate::error::Fault;
use crate::importers::window::{MAX_MAPS, MapperError, PAGE};

/// Why a buffer was not mapped into a window, or not unmapped.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The offset or the buffer's size is not a multiple of the page size, or
    /// the size is 0.
    #[error("window offset {offset:#x} or size {len:#x} is not a multiple of {PAGE}")]
    Misaligned {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
    },
    /// The mapping would leave the window.
    #[error("{len:#x} bytes at {offset:#x} leave the window of {size:#x} bytes")]
    Outside {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
        /// The window's size.
        size: u64,
    },
    /// Something is mapped there.
    #[error("{len:#x} bytes at {offset:#x} overlap what is mapped at {other:#x}")]
    Overlap {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
        /// The offset of what is mapped there.
        other: u64,
    },
    /// The window has as many mappings as a VMM survives.
    #[error("the window has {MAX_MAPS} mappings and a VMM may not survive another")]
    TooMany,
    /// The window was reset while the VMM was asked to map.
    #[error("the window was reset while {len:#x} bytes were mapped at {offset:#x}")]
    Reset {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
    },
    /// The buffer's memory was taken away before the VMM had mapped it.
    #[error("the memory was taken away while {len:#x} bytes were mapped at {offset:#x}")]
    TakenAway {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
    },
    /// The VMM did not do as asked.
    #[error(transparent)]
    Mapper(#[from] MapperError),
}

impl WindowError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Mapper(_) => Fault::Host,
            Self::TakenAway { .. } => Fault::Peer,
            Self::Misaligned { .. }
            | Self::Outside { .. }
            | Self::Overlap { .. }
            | Self::TooMany
            | Self::Reset { .. } => Fault::Asker,
        }
    }

    /// Whether the same call may succeed later with nothing else changed by
    /// its caller.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Reset { .. } | Self::TakenAway { .. })
    }
}
