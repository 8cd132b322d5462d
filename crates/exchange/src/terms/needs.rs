//! What an importer needs.

use std::fmt;

use landbridge_dmabuf::Access;

use crate::caching::Caching;
use crate::terms::{Models, RangeNeeds};

/// How an importer reaches the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A volatile CPU mapping in this process.
    Cpu,
    /// The whole memory as this user's own for a while.
    Exclusive,
    /// A descriptor that another process maps: a guest's window.
    Descriptor,
    /// A list of ranges.
    Ranges,
    /// Ordinary pages, which the kernel pins for a device.
    Pages,
    /// Addresses in the address space of one device or IOMMU.
    Dma,
    /// A descriptor that no CPU of the host ever maps.
    Private,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Exclusive => "exclusive",
            Self::Descriptor => "descriptor",
            Self::Ranges => "ranges",
            Self::Pages => "pages",
            Self::Dma => "dma",
            Self::Private => "private",
        })
    }
}

/// What an importer does with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Reads only.
    Read,
    /// Writes only.
    Write,
    /// Both.
    ReadWrite,
}

impl Direction {
    /// Whether it reads.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it writes.
    pub fn writes(self) -> bool {
        self != Self::Read
    }

    /// What a mapping for it must let its user do.
    pub fn access(self) -> Access {
        if self.writes() {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        }
    }

    /// Whether whoever may do this may do `other`.
    pub fn covers(self, other: Self) -> bool {
        (self.reads() || !other.reads()) && (self.writes() || !other.writes())
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read-write",
        })
    }
}

/// What an importer must know of the caching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CachingNeed {
    /// Nothing: it takes the mapping as it comes.
    Any,
    /// It must be known, whatever it is: a guest's mapping is made the same.
    Known,
    /// It must be exactly this.
    Exactly(Caching),
}

/// What an importer must know of a device's view of the CPU's caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Snooping {
    /// Nothing.
    Any,
    /// It must be known, whatever it is: the importer flushes where it must.
    Known,
    /// Devices' accesses must snoop.
    Required,
}

/// What one importer needs. [`Needs::new`] needs nothing but access; name the
/// rest with `..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// How it reaches the memory.
    pub method: Method,
    /// What it does with the bytes.
    pub direction: Direction,
    /// What may happen to the memory meanwhile.
    pub models: Models,
    /// What it must know of the caching.
    pub caching: CachingNeed,
    /// What its device can take.
    pub ranges: RangeNeeds,
    /// What it must know of snooping.
    pub snooping: Snooping,
    /// It copes with memory of another device, as that device's peer.
    pub peer_to_peer: bool,
}

impl Needs {
    /// Access by `method` in `direction` to memory that stays where it is, and
    /// nothing else.
    pub const fn new(method: Method, direction: Direction) -> Self {
        Self {
            method,
            direction,
            models: Models::PINNED,
            caching: CachingNeed::Any,
            ranges: RangeNeeds::ANY,
            snooping: Snooping::Any,
            // A CPU takes any memory that it can map.
            peer_to_peer: !matches!(method, Method::Ranges | Method::Dma | Method::Private),
        }
    }
}

impl From<Direction> for landbridge_dmabuf::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Read => Self::Read,
            Direction::Write => Self::Write,
            Direction::ReadWrite => Self::ReadWrite,
        }
    }
}
