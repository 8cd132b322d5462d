//! The device: reset, negotiation, queues, requests (virtio 1.3, sections 3.1
//! and 4.1).

use std::fs::{OpenOptions, canonicalize};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use landbridge_hostile::layout::{QUEUE, RAM, RAM_END};
use landbridge_transport::guest::{Descriptor, PAGE, RAM_BASE};

use super::function::{Function, Structure};
use super::rings::{Rings, SIZE};
use crate::sys::memory::{How, Map};

/// Nothing takes this long; a machine under load may.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Kinds of structures: `VIRTIO_PCI_CAP_COMMON_CFG`, `VIRTIO_PCI_CAP_NOTIFY_CFG`.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;

/// In the common structure (`struct virtio_pci_common_cfg`).
const FEATURE_SELECT: usize = 0x00;
const FEATURE: usize = 0x04;
const ACCEPT_SELECT: usize = 0x08;
const ACCEPT: usize = 0x0c;
const STATUS: usize = 0x14;
const QUEUE_SELECT: usize = 0x16;
const QUEUE_SIZE: usize = 0x18;
const QUEUE_ENABLE: usize = 0x1c;
const QUEUE_NOTIFY: usize = 0x1e;
const QUEUE_PARTS: usize = 0x20;

/// In the status: ACKNOWLEDGE and DRIVER, DRIVER_OK, FEATURES_OK.
const DRIVER: u8 = 1 | 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;

const INDIRECT: u64 = 1 << 28;
const VERSION_1: u64 = 1 << 32;

/// The BAR of the window.
const WINDOW: u8 = 4;

/// Where requests that the table does not place lie, and room for answers.
const REQUEST: u64 = RAM_BASE + (4 << 20);
const ANSWER: u64 = RAM_BASE + (8 << 20);

/// What the room for an answer holds before the device writes.
const PATTERN: u8 = 0xa5;

/// A device without a driver, and memory that it can reach.
#[derive(Debug)]
pub struct Naked {
    function: Function,
    common: Map,
    common_at: usize,
    notify: Map,
    notify_at: usize,
    /// Bytes between the places where queues are kicked.
    notify_step: usize,
    /// What the table's guest has as memory.
    memory: Map,
    queues: [Rings; 2],
    window: Option<Map>,
}

impl Naked {
    /// Takes the virtio device `virtio` from its driver.
    ///
    /// # Errors
    /// When it is no PCI device, or the machine was not told to leave memory
    /// free.
    pub fn take(virtio: &str) -> Result<Self> {
        let device = canonicalize(format!("/sys/bus/virtio/devices/{virtio}"))?;
        let folder = device.parent().context("no device above it")?;
        let file = OpenOptions::new().read(true).write(true).open("/dev/mem")?;
        let memory = Map::new(&file, RAM_BASE as usize, RAM as usize, How::SHARED);
        let memory = memory.context("mapping the memory that was left free")?;
        let function = Function::take(folder)?;
        let structures = function.structures()?;
        let find = |kind| -> Result<&Structure> {
            let found = structures.iter().find(|it| it.kind == kind);
            found.with_context(|| format!("no structure of kind {kind}"))
        };
        let (common, notify) = (find(COMMON)?, find(NOTIFY)?);
        ensure!(common.len >= 0x38, "a common structure of {}", common.len);
        let queues = [0, SIZE].map(|start| Rings::new(&memory, start, QUEUE));
        Ok(Self {
            common: function.bar(common.bar)?,
            common_at: common.offset,
            notify: function.bar(notify.bar)?,
            notify_at: notify.offset,
            notify_step: notify.more as usize,
            window: function.bar(WINDOW).ok(),
            memory,
            queues,
            function,
        })
    }

    /// Gives it back to its driver.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn give_back(mut self) -> Result<()> {
        self.reset()?;
        self.function.give_back()
    }

    /// The window, as far as it is mapped.
    ///
    /// # Errors
    /// When the device has none.
    pub fn window(&self) -> Result<&Map> {
        self.window.as_ref().context("no window")
    }

    /// Resets the device, and has it start with these features of its own.
    ///
    /// # Errors
    /// When it does not take them.
    pub fn start(&mut self, features: u64) -> Result<()> {
        let parts = self.fresh_queues();
        self.start_with(features, parts)
    }

    /// The same, with the addresses of the queues' parts as they are given.
    ///
    /// # Errors
    /// When the device does not take the features.
    pub fn start_with(&mut self, features: u64, parts: [[u64; 3]; 2]) -> Result<()> {
        self.reset()?;
        self.set(STATUS, DRIVER);
        let offered = self.features();
        let accepted = offered & (features | VERSION_1 | INDIRECT);
        for (half, bits) in [accepted, accepted >> 32].into_iter().enumerate() {
            self.set(ACCEPT_SELECT, half as u32);
            self.set(ACCEPT, bits as u32);
        }
        self.set(STATUS, DRIVER | FEATURES_OK);
        let status: u8 = self.get(STATUS);
        ensure!(status & FEATURES_OK != 0, "{accepted:#x} is refused");
        for (queue, parts) in parts.into_iter().enumerate() {
            self.set(QUEUE_SELECT, queue as u16);
            self.set(QUEUE_SIZE, QUEUE);
            for (part, address) in parts.into_iter().enumerate() {
                let at = QUEUE_PARTS + 8 * part;
                self.set(at, address as u32);
                self.set(at + 4, (address >> 32) as u32);
            }
            self.set(QUEUE_ENABLE, 1_u16);
        }
        self.set(STATUS, DRIVER | FEATURES_OK | DRIVER_OK);
        Ok(())
    }

    /// Empties the queues and says where their parts are.
    pub fn fresh_queues(&mut self) -> [[u64; 3]; 2] {
        self.queues = [0, SIZE].map(|start| Rings::new(&self.memory, start, QUEUE));
        let address = |at: usize| RAM_BASE + at as u64;
        [0, 1].map(|queue| self.queues[queue].parts().map(address))
    }

    /// The features that the device offers.
    #[must_use]
    pub fn features(&self) -> u64 {
        let half = |number: u32| {
            self.set(FEATURE_SELECT, number);
            u64::from(self.get::<u32>(FEATURE))
        };
        half(0) | half(1) << 32
    }

    /// Resets the device.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn reset(&mut self) -> Result<()> {
        self.set(STATUS, 0_u8);
        let start = Instant::now();
        while self.get::<u8>(STATUS) != 0 {
            ensure!(start.elapsed() < PATIENCE, "a reset that does not end");
        }
        Ok(())
    }

    /// Tells the device to look at a queue.
    pub fn kick(&self, queue: usize) {
        self.set(QUEUE_SELECT, queue as u16);
        let step = usize::from(self.get::<u16>(QUEUE_NOTIFY)) * self.notify_step;
        self.notify.store(self.notify_at + step, queue as u16);
    }

    /// Sends a chain and waits for nothing.
    pub fn submit(&mut self, queue: usize, chain: &[Descriptor]) {
        self.queues[queue].push(&self.memory, chain);
        self.kick(queue);
    }

    /// Sends a chain and says how many bytes the device wrote; none if it did
    /// not come back in `patience`.
    #[must_use]
    pub fn push_for(
        &mut self,
        queue: usize,
        chain: &[Descriptor],
        patience: Duration,
    ) -> Option<u32> {
        self.submit(queue, chain);
        self.queues[queue].pop(&self.memory, patience)
    }

    /// Sends a chain and says how many bytes the device wrote.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn push(&mut self, queue: usize, chain: &[Descriptor]) -> Result<u32> {
        let written = self.push_for(queue, chain, PATIENCE);
        written.context("the chain does not come back")
    }

    /// Makes whatever is at `head` of the queue available.
    pub fn push_head(&mut self, queue: usize, head: u16) {
        self.queues[queue].push_head(&self.memory, head);
        self.kick(queue);
    }

    /// Moves the queue's available index on.
    pub fn advance(&mut self, queue: usize, count: u16) {
        self.queues[queue].advance(&self.memory, count);
        self.kick(queue);
    }

    /// Sends bytes and returns the answer. The room for it is filled before, and
    /// must be as it was where the device wrote nothing.
    ///
    /// # Errors
    /// When there is no answer, or it is longer than it says.
    pub fn talk(&mut self, queue: usize, request: &[u8], room: usize) -> Result<Vec<u8>> {
        self.write(REQUEST, request);
        let space = room.next_multiple_of(PAGE as usize);
        self.write(ANSWER, &vec![PATTERN; space]);
        let mut chain = vec![Descriptor::readable(REQUEST, request.len() as u32)];
        if room > 0 {
            chain[0] = chain[0].then(1);
            chain.push(Descriptor::writable(ANSWER, room as u32));
        }
        let written = self.push(queue, &chain)? as usize;
        ensure!(written <= room, "{written} bytes into room for {room}");
        let mut bytes = self.read(ANSWER, space);
        let rest = bytes.split_off(written);
        let untouched = rest.iter().all(|byte| *byte == PATTERN);
        ensure!(untouched, "more changed than the {written} bytes written");
        Ok(bytes)
    }

    /// Puts bytes at a physical address.
    pub fn write(&self, at: u64, bytes: &[u8]) {
        assert!(at >= RAM_BASE && at + bytes.len() as u64 <= RAM_END);
        for (place, byte) in (at - RAM_BASE..).zip(bytes) {
            self.memory.set(place as usize, *byte);
        }
    }

    /// The bytes at a physical address.
    #[must_use]
    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        assert!(at >= RAM_BASE && at + len as u64 <= RAM_END);
        let start = (at - RAM_BASE) as usize;
        (start..start + len).map(|at| self.memory.get(at)).collect()
    }

    fn get<W: crate::sys::registers::Word>(&self, register: usize) -> W {
        self.common.load(self.common_at + register)
    }

    fn set<W: crate::sys::registers::Word>(&self, register: usize, value: W) {
        self.common.store(self.common_at + register, value);
    }
}
