//! What an exporter offers.

use crate::caching::KnownCaching;
use crate::terms::MemoryModel;

/// What an exporter offers to every importer. It does not change during the
/// exporter's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// What may happen to the memory.
    pub model: MemoryModel,
    /// A CPU can map the memory.
    pub cpu: bool,
    /// How the CPU mapping is cached; `None` where nobody knows.
    pub caching: Option<KnownCaching>,
    /// The memory can be written.
    pub writable: bool,
    /// One user at a time can hold the memory as its own, with every other
    /// user provably absent.
    pub exclusive: bool,
    /// A descriptor can be lent to another process (a VMM), which maps it.
    pub descriptor: bool,
    /// The memory can be told as a list of ranges.
    pub ranges: bool,
}
