//! The driver's side of a split virtqueue, over volatile memory.
//!
//! Virtio 1.3, section 2.7 ("Split Virtqueues"). The device is trusted as
//! little as a device trusts a driver: what it writes is read once and checked.

use std::collections::HashMap;
use std::sync::atomic::{Ordering, fence};

use super::ram::{Pages, Ram};
use crate::error::{Error, Result};

use std::sync::Arc;

pub(super) const DESCRIPTOR_SIZE: u64 = 16;

/// A descriptor as it lies in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Guest-physical address of the buffer.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u32,
    /// [`Descriptor::NEXT`], [`Descriptor::WRITE`], [`Descriptor::INDIRECT`].
    pub flags: u16,
    /// The next descriptor's index, if flagged.
    pub next: u16,
}

impl Descriptor {
    /// The chain goes on at `next`.
    pub const NEXT: u16 = 1;
    /// The device writes the buffer.
    pub const WRITE: u16 = 2;
    /// The buffer is a table of descriptors.
    pub const INDIRECT: u16 = 4;

    /// A buffer that the device reads, the last of its chain.
    pub fn readable(addr: u64, len: u32) -> Self {
        Self {
            addr,
            len,
            flags: 0,
            next: 0,
        }
    }

    /// A buffer that the device writes, the last of its chain.
    pub fn writable(addr: u64, len: u32) -> Self {
        Self {
            flags: Self::WRITE,
            ..Self::readable(addr, len)
        }
    }

    /// A table of descriptors elsewhere.
    pub fn indirect(addr: u64, len: u32) -> Self {
        Self {
            flags: Self::INDIRECT,
            ..Self::readable(addr, len)
        }
    }

    /// The same, going on at `next`.
    #[must_use]
    pub fn then(self, next: u16) -> Self {
        Self {
            flags: self.flags | Self::NEXT,
            next,
            ..self
        }
    }

    /// As it lies in memory.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.flags.to_le_bytes());
        bytes[14..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }
}

/// Where the parts of a queue lie, guest-physical.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) table: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

/// A chain that the device gave back.
pub(super) struct Used<T> {
    pub(super) written: u32,
    /// What was left with the chain.
    pub(super) ticket: T,
}

/// A chain that the device has.
struct InFlight<T> {
    descriptors: Vec<u16>,
    ticket: T,
}

/// A split virtqueue, with a `T` left at the counter for each chain.
pub(super) struct Ring<T> {
    pages: Pages,
    size: u16,
    event_idx: bool,
    free: Vec<u16>,
    next_available: u16,
    last_used: u16,
    in_flight: HashMap<u16, InFlight<T>>,
}

impl<T> Ring<T> {
    /// An empty queue of `size` descriptors, a power of two.
    pub(super) fn new(ram: &Arc<Ram>, size: u16, event_idx: bool) -> Result<Self> {
        let layout = Layout { size };
        Ok(Self {
            pages: ram.allocate(layout.end())?,
            size,
            event_idx,
            free: (0..size).rev().collect(),
            next_available: 0,
            last_used: 0,
            in_flight: HashMap::new(),
        })
    }

    pub(super) fn size(&self) -> u16 {
        self.size
    }

    pub(super) fn addresses(&self) -> Addresses {
        let base = self.pages.address();
        let layout = self.layout();
        Addresses {
            table: base,
            available: base + layout.available(),
            used: base + layout.used(),
        }
    }

    /// Makes a chain available and returns whether the device wants a kick.
    /// The first descriptor of `chain` is the head. A `next` below the chain's
    /// length is an index into `chain`; others go into the table as they are.
    pub(super) fn push(&mut self, chain: &[Descriptor], ticket: T) -> Result<bool> {
        if chain.is_empty() || chain.len() > self.free.len() {
            return Err(Error::GuestFull {
                what: "descriptors",
                asked: chain.len() as u64,
            });
        }
        let descriptors = self.free.split_off(self.free.len() - chain.len());
        for (index, descriptor) in descriptors.iter().zip(chain) {
            let mut descriptor = *descriptor;
            if let Some(next) = descriptors.get(usize::from(descriptor.next)) {
                descriptor.next = *next;
            }
            let place = u64::from(*index) * DESCRIPTOR_SIZE;
            self.pages.write(place, &descriptor.to_bytes())?;
        }
        let head = descriptors[0];
        let in_flight = InFlight {
            descriptors,
            ticket,
        };
        self.in_flight.insert(head, in_flight);
        self.push_head(head)
    }

    /// Makes whatever is at `head` available.
    pub(super) fn push_head(&mut self, head: u16) -> Result<bool> {
        let place = self.layout().available_entry(self.next_available);
        self.store(place, head)?;
        self.advance(1)
    }

    /// Moves the available index on by `count`.
    pub(super) fn advance(&mut self, count: u16) -> Result<bool> {
        let old = self.next_available;
        self.next_available = old.wrapping_add(count);
        // The entries are visible before the index that publishes them.
        fence(Ordering::Release);
        let place = self.layout().available() + 2;
        self.store(place, self.next_available)?;
        // The index is visible before the device's wish is read.
        fence(Ordering::SeqCst);
        if !self.event_idx {
            return Ok(self.load(self.layout().used())? & 1 == 0);
        }
        let event = self.load(self.layout().available_event())?;
        Ok(needs_event(event, self.next_available, old))
    }

    /// Takes the next chain that the device gave back, if there is one.
    pub(super) fn pop(&mut self) -> Result<Option<Used<T>>> {
        if self.event_idx {
            // Before looking: whatever comes after the look is announced.
            let place = self.layout().used_event();
            self.store(place, self.last_used)?;
            fence(Ordering::SeqCst);
        }
        if self.load(self.layout().used() + 2)? == self.last_used {
            return Ok(None);
        }
        fence(Ordering::Acquire);
        let place = self.layout().used_entry(self.last_used) as usize;
        let head = u32::from_le(self.pages.view().read_at(place)?);
        let written = u32::from_le(self.pages.view().read_at(place + 4)?);
        self.last_used = self.last_used.wrapping_add(1);
        let chain = u16::try_from(head)
            .ok()
            .and_then(|head| self.in_flight.remove(&head))
            .ok_or_else(|| {
                Error::device("keep to the queue", format!("chain {head} is not out"))
            })?;
        self.free.extend(chain.descriptors);
        Ok(Some(Used {
            written,
            ticket: chain.ticket,
        }))
    }

    fn layout(&self) -> Layout {
        Layout { size: self.size }
    }

    fn load(&self, offset: u64) -> Result<u16> {
        let value = self.pages.view().read_at(offset as usize)?;
        Ok(u16::from_le(value))
    }

    fn store(&self, offset: u64, value: u16) -> Result<()> {
        let view = self.pages.view();
        Ok(view.write_at(offset as usize, value.to_le())?)
    }
}

/// Whether the other side wants to know that an index went from `old` to
/// `new`, having asked to be told when it passes `event`
/// (virtio 1.3, section 2.7.10).
fn needs_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Byte offsets of a queue's parts.
#[derive(Clone, Copy)]
struct Layout {
    size: u16,
}

impl Layout {
    fn size(self) -> u64 {
        u64::from(self.size)
    }

    fn available(self) -> u64 {
        self.size() * DESCRIPTOR_SIZE
    }

    fn available_entry(self, index: u16) -> u64 {
        self.available() + 4 + 2 * u64::from(index % self.size)
    }

    /// Where the driver says when it wants to be told.
    fn used_event(self) -> u64 {
        self.available() + 4 + 2 * self.size()
    }

    fn used(self) -> u64 {
        (self.used_event() + 2).next_multiple_of(4)
    }

    fn used_entry(self, index: u16) -> u64 {
        self.used() + 4 + 8 * u64::from(index % self.size)
    }

    /// Where the device says when it wants to be told.
    fn available_event(self) -> u64 {
        self.used() + 4 + 8 * self.size()
    }

    fn end(self) -> u64 {
        self.available_event() + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_due_when_its_index_is_passed() {
        assert!(needs_event(0, 1, 0));
        assert!(!needs_event(1, 1, 0));
        assert!(needs_event(u16::MAX, 0, u16::MAX));
        assert!(needs_event(5, 8, 4));
        assert!(!needs_event(3, 8, 4));
    }

    #[test]
    fn a_full_queue_says_so_and_loses_nothing() {
        let ram = Ram::new(1 << 16).unwrap();
        let mut ring = Ring::new(&ram, 4, false).unwrap();
        let chain = [
            Descriptor::readable(0, 1).then(1),
            Descriptor::writable(0, 1),
        ];
        ring.push(&chain, "one").unwrap();
        ring.push(&chain, "two").unwrap();
        assert!(matches!(
            ring.push(&chain, "three"),
            Err(Error::GuestFull { asked: 2, .. })
        ));
        assert!(ring.pop().unwrap().is_none());
    }

    #[test]
    fn a_chain_that_is_not_out_is_the_devices_fault() {
        let ram = Ram::new(1 << 16).unwrap();
        let mut ring = Ring::<()>::new(&ram, 4, false).unwrap();
        let used = ring.layout().used() as usize;
        ring.pages.view().write_at(used + 4, 3u32).unwrap();
        ring.pages.view().write_at(used + 2, 1u16).unwrap();
        assert!(matches!(ring.pop(), Err(Error::Device { .. })));
    }
}
