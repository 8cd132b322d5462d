//! One virtqueue, from the device's side.
//!
//! Requests are taken in the order in which the driver made them available.
//! Replies come back in any order, at any time and from any thread. A queue
//! has *lives*: each stop ends one, and a reply to a request of an earlier life
//! goes nowhere, because its buffers are no longer the device's to write. A queue
//! that is *held* takes nothing and writes nothing, and has not lost anything
//! either: replies wait until it is released, or die with its life.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use landbridge_device::{Reply, Request};
use vhost_user_backend::VringT;
use virtio_queue::{Queue as Rings, QueueOwnedT, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryMmap};

use super::chain::{self, Room, Table};
use super::ring::{Memory, Ring};

/// One virtqueue of one connection.
pub(super) struct Queue {
    memory: Memory,
    ring: OnceLock<Ring>,
    /// Taken before the ring's own lock, and while guest memory is written.
    life: Mutex<Life>,
}

/// From one stop to the next.
#[derive(Default)]
struct Life {
    number: u64,
    /// While the queue is held: the replies that came meanwhile.
    held: Option<Vec<Answer>>,
}

/// A reply, to be written.
struct Answer {
    head: u16,
    room: Room,
    bytes: Vec<u8>,
}

/// The head of a chain that the driver made available.
struct Head {
    index: u16,
    table: Table,
    life: u64,
}

/// The driver announced more chains than the queue can hold, or the rings are
/// not in its memory. Nothing more is taken until it restarts the queue.
struct Broken(virtio_queue::Error);

impl Queue {
    pub(super) fn new(memory: Memory) -> Arc<Self> {
        Arc::new(Self {
            memory,
            ring: OnceLock::new(),
            life: Mutex::default(),
        })
    }

    /// Hands over every request that the driver has made available, in order,
    /// until there is none or `hand_over` says that it wants no more.
    pub(super) fn drain(
        self: &Arc<Self>,
        ring: &Ring,
        mut hand_over: impl FnMut(Request) -> Continue,
    ) {
        let ring = self.ring.get_or_init(|| ring.clone());
        // Where the rings can't be reached, `pop` says so.
        let disable = Rings::disable_notification;
        let _ = self.with(ring, disable);
        loop {
            match self.pop(ring) {
                Ok(Some(head)) => {
                    if let Some(request) = self.read(head)
                        && hand_over(request) == Continue::No
                    {
                        return;
                    }
                }
                Ok(None) => match self.with(ring, Rings::enable_notification) {
                    Ok(true) => {
                        let _ = self.with(ring, disable);
                    }
                    _ => return,
                },
                Err(Broken(error)) => {
                    tracing::warn!(%error, "the driver broke a queue; it rests until restarted");
                    return;
                }
            }
        }
    }

    /// Ends the queue's life: when this returns, no reply to a request taken
    /// before writes to the guest.
    pub(super) fn stop(&self) {
        let mut life = self.life();
        life.number += 1;
        life.held = None;
    }

    /// Holds the queue: when this returns, nothing reaches the guest or is taken
    /// from it until [`Queue::release`] or [`Queue::stop`].
    pub(super) fn hold(&self) {
        self.life().held.get_or_insert_default();
    }

    /// Goes on after [`Queue::hold`], with the replies that came meanwhile.
    pub(super) fn release(&self, ring: &Ring) {
        let mut life = self.life();
        for answer in life.held.take().into_iter().flatten() {
            self.write(ring, answer.head, &answer.room, &answer.bytes);
        }
        drop(life);
        // What was made available before the pause was perhaps not taken.
        ring.wake();
    }

    /// Reaches the rings in memory that was checked. (The ring's own methods
    /// would take what the VMM has announced, checked or not.)
    fn with<T>(&self, ring: &Ring, use_it: impl FnOnce(&mut Rings, &GuestMemoryMmap) -> T) -> T {
        use_it(ring.get_mut().get_queue_mut(), &self.memory.memory())
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        // Changed by single assignments.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self, ring: &Ring) -> Result<Option<Head>, Broken> {
        let life = self.life();
        let mut state = ring.get_mut();
        let enabled = state.is_enabled();
        let queue = state.get_queue_mut();
        if !enabled || !queue.ready() || life.held.is_some() {
            return Ok(None);
        }
        let memory = self.memory.memory();
        let Some(chain) = queue.iter(&*memory).map_err(Broken)?.next() else {
            return Ok(None);
        };
        Ok(Some(Head {
            index: chain.head_index(),
            table: Table {
                addr: queue.desc_table(),
                len: u32::from(queue.size()),
            },
            life: life.number,
        }))
    }

    /// Reads the chain, or gives it back with nothing written: the driver can
    /// go on. A head that is not in the descriptor table can't even be given
    /// back, and is skipped.
    fn read(self: &Arc<Self>, head: Head) -> Option<Request> {
        let memory = self.memory.memory();
        match chain::read(&memory, head.table, head.index) {
            Ok(chain) => {
                let capacity = chain.room.capacity();
                let queue = Arc::downgrade(self);
                let deliver = move |bytes: &[u8]| Self::deliver(&queue, &head, chain.room, bytes);
                Some(Request {
                    bytes: chain.request,
                    reply: Reply::new(capacity, deliver),
                })
            }
            Err(error) => {
                tracing::debug!(%error, head = head.index, "the driver sent a malformed chain");
                self.give_back(&head, Room::default(), &[]);
                None
            }
        }
    }

    fn deliver(queue: &Weak<Self>, head: &Head, room: Room, bytes: &[u8]) {
        // Gone: the connection has ended.
        if let Some(queue) = queue.upgrade() {
            queue.give_back(head, room, bytes);
        }
    }

    fn give_back(&self, head: &Head, room: Room, bytes: &[u8]) {
        let mut life = self.life();
        if life.number != head.life {
            return;
        }
        match (&mut life.held, self.ring.get()) {
            (Some(held), _) => held.push(Answer {
                head: head.index,
                room,
                bytes: bytes.to_vec(),
            }),
            (None, Some(ring)) => self.write(ring, head.index, &room, bytes),
            (None, None) => {}
        }
    }

    /// Writes a reply. The life's lock is held.
    fn write(&self, ring: &Ring, head: u16, room: &Room, bytes: &[u8]) {
        let memory = self.memory.memory();
        let written = room.write(&memory, bytes);
        let mut state = ring.get_mut();
        let rings = state.get_queue_mut();
        let done = rings
            .add_used(&*memory, head, written)
            .and_then(|()| rings.needs_notification(&*memory));
        match done {
            Ok(true) => {
                // One that is full says already that there is something.
                if let Err(error) = state.signal_used_queue()
                    && error.kind() != io::ErrorKind::WouldBlock
                {
                    tracing::warn!(%error, "the VMM can't be notified");
                }
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "a chain can't be given back"),
        }
    }
}

/// Whether a queue goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continue {
    /// With the next request.
    Yes,
    /// Not: the connection is ending.
    No,
}
