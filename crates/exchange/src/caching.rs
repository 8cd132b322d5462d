//! How the CPU caches its mapping of a buffer, and how we know.

use std::fmt;

pub use landbridge_dmabuf::Caching;

/// What of the kernel's showed a caching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Its answer to an ioctl.
    Ioctl,
    /// The page table of a live mapping: exact at the time.
    PageTable,
    /// Its record of a mapping (`vm_page_prot`): exact but for exporters that
    /// set the caching page by page.
    Mapping,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ioctl => "ioctl",
            Self::PageTable => "page table",
            Self::Mapping => "mapping",
        })
    }
}

/// Where the knowledge of a buffer's caching comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CachingSource {
    /// This process looked into the kernel.
    Kernel(Evidence),
    /// A broker that may look did, and said so.
    Broker(Evidence),
    /// A rule about the exporter, with the reason why it holds.
    Rule(&'static str),
    /// The operator said so.
    Operator,
}

impl fmt::Display for CachingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(evidence) => evidence.fmt(f),
            Self::Broker(evidence) => write!(f, "{evidence}, read by the broker"),
            Self::Rule(reason) => write!(f, "rule: {reason}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// A caching together with the source of that knowledge. Unknown caching is
/// the absence of this value; it is never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KnownCaching {
    /// How the CPU caches the mapping.
    pub caching: Caching,
    /// How we know.
    pub source: CachingSource,
}

impl fmt::Display for KnownCaching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.caching, self.source)
    }
}
