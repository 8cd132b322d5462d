//! What an exporter offers.

use crate::caching::KnownCaching;
use crate::terms::{MemoryModel, RangeShape};

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
    /// The memory is ordinary pages, which the kernel can pin for a device.
    pub pages: bool,
    /// The memory has addresses in the address space of a device.
    pub dma: bool,
    /// The memory can be imported by descriptor only: no CPU of the host ever
    /// maps it.
    pub private: bool,
    /// What holds of every range, and of every DMA address.
    pub shape: RangeShape,
    /// Whether devices' accesses snoop the CPU's caches; `None` where nobody
    /// knows.
    pub snooped: Option<bool>,
    /// The memory is a device's own: another device reaches it as its peer, not
    /// as ordinary memory.
    pub peer_to_peer: bool,
}

impl Offer {
    /// Pinned ordinary memory of this machine, with no way to it yet.
    pub const NOTHING: Self = Self {
        model: MemoryModel::Pinned,
        cpu: false,
        caching: None,
        writable: false,
        exclusive: false,
        descriptor: false,
        ranges: false,
        pages: false,
        dma: false,
        private: false,
        shape: RangeShape::PAGES,
        snooped: None,
        peer_to_peer: false,
    };

    /// Why no memory can be like this, if none can.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.private && (self.cpu || self.exclusive || self.descriptor || self.pages) {
            Some("private memory has no CPU mapping, in no process")
        } else if !self.shape.align.is_power_of_two() {
            Some("an alignment is a power of two")
        } else {
            None
        }
    }
}
