//! Guest memory behind a resource.
//!
//! A backing list comes as guest-physical entries. Neighbours are merged
//! before anything else sees them, what is left is bounded, and the exchange's
//! guest pages exporter checks that all of it is memory of the guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use landbridge_exchange::Buffer;
use landbridge_exchange::exporters::{GuestPages, Joiner};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::window::PAGE;
use landbridge_exchange::ranges::{GuestPhysical, Range, RangeList};
use landbridge_exchange::terms::MemoryModel;
use landbridge_protocol_gpu::MemEntry;

use crate::core::Core;
use crate::error::Error;

/// Guest memory behind a resource.
#[derive(Debug)]
pub(crate) struct Backing {
    buffer: Buffer,
    ranges: Held,
    /// The memory, mapped for transfers.
    pub(crate) view: Option<Arc<CpuImport>>,
}

impl Backing {
    /// The guest memory of these entries that a resource is copied from:
    /// `size` bytes of it, or all.
    pub(crate) fn shadow(
        core: &Core,
        entries: &[MemEntry],
        size: Option<u64>,
    ) -> Result<Self, Error> {
        core.with_room(|| Self::make(core, entries, size, None))
    }

    /// The guest memory of these entries that is a blob: a dma-buf where this
    /// machine can make one.
    pub(crate) fn blob(core: &Core, entries: &[MemEntry], size: u64) -> Result<Self, Error> {
        let joiner = core.config.joiner.as_deref();
        core.with_room(|| Self::make(core, entries, Some(size), joiner))
    }

    fn make(
        core: &Core,
        entries: &[MemEntry],
        size: Option<u64>,
        joiner: Option<&dyn Joiner>,
    ) -> Result<Self, Error> {
        let list = merge(entries, core.config.bounds.ranges)?;
        let ranges = Held::take(core, list.as_slice().len())?;
        let size = size.unwrap_or(list.size());
        let pages = GuestPages::new(&*core.memory, list, size)?;
        let join = || match joiner {
            Some(joiner) => pages.joined_by(joiner),
            None => pages,
        };
        // Paid for first: a dma-buf pins the guest's pages.
        let (pinned, tenant) = (MemoryModel::Pinned, core.tenant());
        let buffer = core
            .exchange
            .publish_with(size, pinned, tenant, || Ok(join()))?;
        Ok(Self {
            buffer,
            ranges,
            view: None,
        })
    }

    /// The memory.
    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// How many guest-physical ranges it is made of.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.count
    }
}

/// Ranges that count against the bound of all ranges, until dropped.
#[derive(Debug)]
struct Held {
    total: Arc<AtomicUsize>,
    count: usize,
}

impl Held {
    fn take(core: &Core, count: usize) -> Result<Self, Error> {
        let limit = core.config.bounds.all_ranges;
        let add = |total: usize| total.checked_add(count).filter(|sum| *sum <= limit);
        core.ranges
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|_| Error::Bound {
                what: "guest memory ranges of all resources",
                limit,
            })?;
        Ok(Self {
            total: Arc::clone(&core.ranges),
            count,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// Merges a backing list into at most `limit` ranges. The last entry may end
/// within a page, as drivers send them that count pixels instead of pages.
fn merge(entries: &[MemEntry], limit: usize) -> Result<RangeList<GuestPhysical>, Error> {
    let mut list = RangeList::default();
    let last = entries.len().saturating_sub(1);
    for (index, entry) in entries.iter().enumerate() {
        let mut len = u64::from(entry.length());
        if index == last && len > 0 && entry.addr().is_multiple_of(PAGE) {
            len = len.next_multiple_of(PAGE);
        }
        let bad = |what, value| Error::Field { what, value };
        let range = Range::new(entry.addr(), len).map_err(|error| {
            if error.len == 0 {
                bad("a backing entry's length", 0)
            } else {
                bad("a backing entry's address", error.start)
            }
        })?;
        list.push(range)
            .map_err(|error| bad("a backing entry's length", error.len))?;
        if list.as_slice().len() > limit {
            return Err(Error::Bound {
                what: "guest memory ranges of one resource",
                limit,
            });
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_merge_and_the_last_entry_is_rounded_up() {
        let entries = [
            MemEntry::new(0x1000, 0x1000),
            MemEntry::new(0x2000, 0x1000),
            MemEntry::new(0x8000, 0x10),
        ];
        let list = merge(&entries, 2).unwrap();
        assert_eq!(list.as_slice().len(), 2);
        assert_eq!(list.size(), 0x3000);
        assert!(matches!(merge(&entries, 1), Err(Error::Bound { .. })));
    }

    #[test]
    fn empty_and_wrapping_entries_are_refused() {
        for entry in [
            MemEntry::new(0x1000, 0),
            MemEntry::new(u64::MAX - 0xfff, 0x1000),
            MemEntry::new(u64::MAX, 2),
        ] {
            let error = merge(&[entry, MemEntry::new(0, 1)], 9).unwrap_err();
            assert!(matches!(error, Error::Field { .. }), "{error}");
        }
    }
}
