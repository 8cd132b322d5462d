//! Why an importer was refused.

use std::fmt;

use crate::caching::{Caching, KnownCaching};
use crate::terms::{Direction, MemoryModel, Method};

/// One need that the exporter does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// The exporter doesn't offer this way to the memory.
    Method(Method),
    /// The importer writes and the memory can't be written.
    Writable,
    /// The importer must know the caching and nobody does.
    CachingUnknown,
    /// The importer needs another caching.
    Caching {
        /// What the importer needs.
        needed: Caching,
        /// What the exporter has.
        offered: KnownCaching,
    },
    /// The importer does not cope with what may happen to the memory.
    Model(MemoryModel),
    /// The same, and the memory can't be pinned for it either.
    NeverPinned(MemoryModel),
    /// The importer's device needs ranges that start at larger multiples.
    Alignment {
        /// What the importer needs, in bytes.
        needed: u64,
        /// What the exporter promises.
        offered: u64,
    },
    /// The importer's device takes shorter ranges only, and can't cut them.
    LongRange {
        /// The most bytes that it takes.
        needed: u64,
        /// The most bytes that there may be.
        offered: u64,
    },
    /// The importer's device can't form all addresses.
    AddressBits {
        /// How many bits it has.
        needed: u8,
        /// How many bits addresses may have.
        offered: u8,
    },
    /// The importer must know whether devices snoop, and nobody does.
    SnoopingUnknown,
    /// The importer needs devices to snoop, and they don't.
    NotSnooped,
    /// The memory is another device's, which the importer can't reach.
    PeerToPeer,
    /// The importer wants to do what its terms don't cover.
    Direction {
        /// What the terms are for.
        agreed: Direction,
        /// What it wants to do.
        asked: Direction,
    },
    /// The importer copes with what may happen to the memory, but has no
    /// [`Holder`](crate::Holder) that could be told.
    NoHolder(MemoryModel),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "{method} access is not offered"),
            Self::Writable => f.write_str("the memory is read-only"),
            Self::CachingUnknown => f.write_str("the caching is not known"),
            Self::Caching { needed, offered } => {
                write!(f, "{needed} caching is needed, the memory is {offered}")
            }
            Self::Model(model) => {
                write!(f, "the memory is {model}, which the importer can't follow")
            }
            Self::NeverPinned(model) => write!(
                f,
                "the memory is {model}, which the importer can't follow, and can't be pinned"
            ),
            Self::Alignment { needed, offered } => write!(
                f,
                "ranges must start at multiples of {needed:#x}, and start at multiples of {offered:#x}"
            ),
            Self::LongRange { needed, offered } => write!(
                f,
                "ranges must have at most {needed:#x} bytes, and may have {offered:#x}"
            ),
            Self::AddressBits { needed, offered } => write!(
                f,
                "addresses must fit {needed} bits, and may have {offered}"
            ),
            Self::SnoopingUnknown => {
                f.write_str("whether devices snoop the CPU's caches is not known")
            }
            Self::NotSnooped => f.write_str("devices don't snoop the CPU's caches"),
            Self::PeerToPeer => {
                f.write_str("the memory is another device's, which the importer can't reach")
            }
            Self::Direction { agreed, asked } => {
                write!(f, "{asked} access was asked under terms for {agreed}")
            }
            Self::NoHolder(model) => write!(
                f,
                "the memory is {model}, and there is nobody to tell when that happens"
            ),
        }
    }
}

/// A negotiation that failed: every need that was not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who asked.
    pub importer: String,
    /// Who could not give.
    pub exporter: String,
    /// Each unmet need; never empty.
    pub unmet: Vec<Unmet>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't use {}: ", self.importer, self.exporter)?;
        for (index, unmet) in self.unmet.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{unmet}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
