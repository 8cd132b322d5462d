//! A split virtqueue with one chain in it at a time (virtio 1.3, section 2.7).

use std::time::{Duration, Instant};

use landbridge_transport::guest::Descriptor;

use crate::sys::memory::{Map, PAGE};

/// In the available ring's flags: the device need not interrupt.
const NO_INTERRUPT: u16 = 1;

/// Where a queue's parts lie in its two pages.
const AVAILABLE: usize = PAGE;
const USED: usize = PAGE + 1024;

/// How many bytes a queue takes.
pub(super) const SIZE: usize = 2 * PAGE;

/// A queue in the memory of the program.
#[derive(Debug)]
pub(super) struct Rings {
    /// Where it begins in the memory.
    start: usize,
    size: u16,
    next_available: u16,
    last_used: u16,
}

impl Rings {
    /// An empty queue.
    pub(super) fn new(memory: &Map, start: usize, size: u16) -> Self {
        for at in (start..start + SIZE).step_by(8) {
            memory.store(at, 0_u64);
        }
        memory.store(start + AVAILABLE, NO_INTERRUPT.to_le());
        Self {
            start,
            size,
            next_available: 0,
            last_used: 0,
        }
    }

    /// Offsets of the descriptor table, the available and the used ring.
    pub(super) fn parts(&self) -> [usize; 3] {
        [0, AVAILABLE, USED].map(|part| self.start + part)
    }

    /// Puts a chain into the first descriptors and makes it available.
    pub(super) fn push(&mut self, memory: &Map, chain: &[Descriptor]) {
        for (index, descriptor) in chain.iter().enumerate() {
            let bytes = descriptor.to_bytes();
            for (at, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let place = self.start + 16 * index + 8 * at;
                memory.store(place, u64::from_ne_bytes(*word));
            }
        }
        self.push_head(memory, 0);
    }

    /// Makes whatever is at `head` available.
    pub(super) fn push_head(&mut self, memory: &Map, head: u16) {
        let slot = usize::from(self.next_available % self.size);
        memory.store(self.start + AVAILABLE + 4 + 2 * slot, head.to_le());
        self.advance(memory, 1);
    }

    /// Moves the available index on.
    pub(super) fn advance(&mut self, memory: &Map, count: u16) {
        self.next_available = self.next_available.wrapping_add(count);
        memory.store(self.start + AVAILABLE + 2, self.next_available.to_le());
    }

    /// Waits until a chain comes back, and says how many bytes the device wrote.
    pub(super) fn pop(&mut self, memory: &Map, patience: Duration) -> Option<u32> {
        let start = Instant::now();
        while u16::from_le(memory.load(self.start + USED + 2)) == self.last_used {
            if start.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        let slot = usize::from(self.last_used % self.size);
        self.last_used = self.last_used.wrapping_add(1);
        let written = memory.load::<u32>(self.start + USED + 4 + 8 * slot + 4);
        Some(u32::from_le(written))
    }
}
