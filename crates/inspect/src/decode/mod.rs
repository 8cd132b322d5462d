//! From the bits of a page-table entry to a caching.
//!
//! x86-64 and arm64. Every function is pure, so that entries recorded on one
//! machine decode on another.

pub mod arm64;
pub mod x86;

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the CPU caches a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caching {
    /// Cached; coherent with devices that snoop.
    WriteBack,
    /// Not cached; writes gather in buffers.
    WriteCombining,
    /// Not cached; every access goes to memory.
    Uncached,
    /// Reads cached, writes go to memory.
    WriteThrough,
    /// Different pages differ.
    Mixed,
}

impl fmt::Display for Caching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteBack => "write-back",
            Self::WriteCombining => "write-combining",
            Self::Uncached => "uncached",
            Self::WriteThrough => "write-through",
            Self::Mixed => "mixed",
        })
    }
}

impl Caching {
    /// The usual abbreviation, for tables.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::WriteBack => "WB",
            Self::WriteCombining => "WC",
            Self::Uncached => "UC",
            Self::WriteThrough => "WT",
            Self::Mixed => "mixed",
        }
    }

    /// What two parts of one mapping make together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        if self == other { self } else { Self::Mixed }
    }
}

/// Decodes entries and protections of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// x86-64 with this attribute table.
    X86(x86::PatLayout),
    /// arm64 with Linux's attribute indices.
    Arm64,
}

impl Decoder {
    /// The decoder of the machine this runs on; `None` on other processors.
    #[must_use]
    pub fn of_this_machine() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86(x86::PatLayout::of_this_machine()))
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Arm64)
        } else {
            None
        }
    }

    /// The caching that a `vm_page_prot` asks for; `None` if the bits mean nothing known.
    #[must_use]
    pub fn protection(self, page_prot: u64) -> Option<Caching> {
        match self {
            // The protection is that of a small page: PAT at bit 7.
            Self::X86(layout) => layout.caching(x86::cache_index(page_prot, 1)),
            Self::Arm64 => arm64::caching(page_prot),
        }
    }

    /// The caching of a leaf entry at `level` (1: 4 KiB, 2: 2 MiB, 3: 1 GiB pages).
    #[must_use]
    pub fn leaf(self, entry: u64, level: u8) -> Option<Caching> {
        match self {
            Self::X86(layout) => layout.caching(x86::cache_index(entry, level)),
            Self::Arm64 => arm64::caching(entry),
        }
    }
}
