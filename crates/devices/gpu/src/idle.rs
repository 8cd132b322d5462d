//! Idle maps: what the guest unmapped and the VMM did not.
//!
//! To map and to unmap are trips to the VMM, which cost it far more than
//! anything else in a blob's life. So a blob that the guest unmaps stays in the
//! window for as long as nobody wants its place. If the guest destroys it, the
//! next one of its size that the guest maps there for the first time gets its
//! memory, emptied, in place of its own, which nobody has touched.
//!
//! Only for memory of the device's own that nobody but the guest can find: see
//! [`Core::may_idle`](crate::core::Core::may_idle). To its guest an idle map
//! shows nothing that the guest did not have or write itself.

use landbridge_exchange::Buffer;
use landbridge_exchange::importers::window::WindowMapping;

/// The most bytes in idle maps.
pub(crate) const MAX_BYTES: u64 = 32 << 20;

/// What the guest unmapped and the VMM did not. Dropped, the VMM does; so never
/// under the device's lock.
#[derive(Debug)]
pub(crate) struct IdleMap {
    pub(crate) offset: u64,
    pub(crate) mapping: WindowMapping,
    /// The resource whose memory it is, by serial; none once that is destroyed.
    pub(crate) owner: Option<u64>,
}

impl IdleMap {
    pub(crate) fn buffer(&self) -> &Buffer {
        self.mapping.attachment().buffer()
    }

    fn overlaps(&self, offset: u64, len: u64) -> bool {
        // Both lie in the window.
        self.offset < offset.saturating_add(len) && offset < self.offset + self.buffer().size()
    }
}

/// The idle maps of a window, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    maps: Vec<IdleMap>,
}

impl Idle {
    pub(crate) fn len(&self) -> usize {
        self.maps.len()
    }

    /// Adds one, and returns those that are too many: at most `limit` stay.
    #[must_use]
    pub(crate) fn add(&mut self, map: IdleMap, limit: usize) -> Vec<IdleMap> {
        self.maps.push(map);
        let mut surplus = Vec::new();
        while self.maps.len() > limit || self.bytes() > MAX_BYTES {
            surplus.push(self.maps.remove(0));
        }
        surplus
    }

    fn bytes(&self) -> u64 {
        self.maps.iter().map(|map| map.buffer().size()).sum()
    }

    /// The resource is destroyed.
    pub(crate) fn disown(&mut self, serial: u64) {
        for map in &mut self.maps {
            if map.owner == Some(serial) {
                map.owner = None;
            }
        }
    }

    /// Takes out what is of this resource, and what is in its way at `offset`.
    pub(crate) fn take_at(&mut self, serial: u64, offset: u64, len: u64) -> Vec<IdleMap> {
        let wanted = |map: &IdleMap| map.owner == Some(serial) || map.overlaps(offset, len);
        let (taken, left) = std::mem::take(&mut self.maps).into_iter().partition(wanted);
        self.maps = left;
        taken
    }

    /// Takes out all.
    pub(crate) fn take_all(&mut self) -> Vec<IdleMap> {
        std::mem::take(&mut self.maps)
    }
}
