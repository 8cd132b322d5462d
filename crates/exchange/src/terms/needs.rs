//! What an importer needs.

use std::fmt;

use crate::caching::Caching;
use crate::terms::Models;

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
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Exclusive => "exclusive",
            Self::Descriptor => "descriptor",
            Self::Ranges => "ranges",
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

/// What one importer needs.
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
