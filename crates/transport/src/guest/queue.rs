//! Requests and answers over a virtqueue, from the driver's side.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::ram::{Pages, Ram};
use super::ring::{Addresses, DESCRIPTOR_SIZE, Descriptor, Ring};
use crate::error::{Error, Result};

/// What a queue is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueConfig {
    pub(super) size: u16,
    pub(super) event_idx: bool,
    pub(super) indirect: bool,
}

/// What is left at the counter with a chain.
struct Ticket {
    answer: Sender<Answer>,
    /// What the device writes to, and how much of it.
    room: Option<(Pages, usize)>,
    /// Keeps what the device reads in place.
    _request: Vec<Pages>,
}

/// An answer of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How many bytes the device says it wrote.
    pub written: u32,
    /// Those bytes, as far as there was room; empty for a raw chain.
    pub bytes: Vec<u8>,
}

/// An answer that is yet to come.
#[derive(Debug)]
pub struct Pending(Receiver<Answer>);

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Ended`] if the device was reset meanwhile.
    pub fn wait(&self, timeout: Duration) -> Result<Answer> {
        self.0.recv_timeout(timeout).map_err(|error| match error {
            RecvTimeoutError::Timeout => Error::Timeout,
            RecvTimeoutError::Disconnected => Error::Ended,
        })
    }

    /// The answer if it is there already.
    pub fn poll(&self) -> Option<Answer> {
        self.0.try_recv().ok()
    }
}

/// A virtqueue with its two eventfds.
pub(super) struct Queue {
    ram: Arc<Ram>,
    config: QueueConfig,
    ring: Mutex<Ring<Ticket>>,
    pub(super) kick: EventFd,
    pub(super) call: EventFd,
}

impl Queue {
    pub(super) fn new(ram: &Arc<Ram>, config: QueueConfig) -> Result<Self> {
        let event = || {
            EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)
                .map_err(|error| Error::host("make an eventfd", error))
        };
        Ok(Self {
            ram: Arc::clone(ram),
            config,
            ring: Mutex::new(Ring::new(ram, config.size, config.event_idx)?),
            kick: event()?,
            call: event()?,
        })
    }

    /// Starts over, as after a reset: what the device had is forgotten.
    pub(super) fn restart(&self) -> Result<()> {
        *self.ring() = Ring::new(&self.ram, self.config.size, self.config.event_idx)?;
        Ok(())
    }

    pub(super) fn place(&self) -> (u16, Addresses) {
        let ring = self.ring();
        (ring.size(), ring.addresses())
    }

    /// Sends a request of any bytes, with room for an answer.
    pub(super) fn submit(&self, request: &[u8], room: usize) -> Result<Pending> {
        let mut chain = Vec::with_capacity(2);
        let mut kept = Vec::with_capacity(2);
        if !request.is_empty() {
            let pages = self.ram.allocate(request.len() as u64)?;
            pages.write(0, request)?;
            chain.push(Descriptor::readable(
                pages.address(),
                length(request.len())?,
            ));
            kept.push(pages);
        }
        let answer = match room {
            0 => None,
            _ => Some(self.ram.allocate(room as u64)?),
        };
        if let Some(pages) = &answer {
            if let Some(first) = chain.first_mut() {
                *first = first.then(1);
            }
            chain.push(Descriptor::writable(pages.address(), length(room)?));
        }
        if self.config.indirect && chain.len() > 1 {
            let table = self.table(&chain)?;
            let len = length(chain.len())? * DESCRIPTOR_SIZE as u32;
            chain = vec![Descriptor::indirect(table.address(), len)];
            kept.push(table);
        }
        self.push(&chain, answer.map(|pages| (pages, room)), kept)
    }

    /// Sends a chain as it is.
    pub(super) fn submit_raw(&self, chain: &[Descriptor]) -> Result<Pending> {
        self.push(chain, None, Vec::new())
    }

    /// Changes the ring, and kicks if the device wants it.
    pub(super) fn raw(&self, change: impl FnOnce(&mut RawRing<'_>) -> Result<bool>) -> Result<()> {
        let kick = change(&mut RawRing(&mut self.ring()))?;
        self.kick_if(kick)
    }

    /// Hands out every answer that the device has given.
    pub(super) fn collect(&self) -> Result<()> {
        // The counter's value has no meaning, and it may be zero.
        let _ = self.call.read();
        let mut ring = self.ring();
        while let Some(used) = ring.pop()? {
            let bytes = match &used.ticket.room {
                Some((pages, room)) => pages.read(0, (*room).min(used.written as usize))?,
                None => Vec::new(),
            };
            // Nobody may be waiting any more.
            let _ = used.ticket.answer.send(Answer {
                written: used.written,
                bytes,
            });
        }
        Ok(())
    }

    fn push(
        &self,
        chain: &[Descriptor],
        room: Option<(Pages, usize)>,
        request: Vec<Pages>,
    ) -> Result<Pending> {
        let (answer, pending) = channel();
        let kick = self.ring().push(
            chain,
            Ticket {
                answer,
                room,
                _request: request,
            },
        )?;
        self.kick_if(kick)?;
        Ok(Pending(pending))
    }

    fn kick_if(&self, wanted: bool) -> Result<()> {
        if !wanted {
            return Ok(());
        }
        self.kick
            .write(1)
            .map_err(|error| Error::host("kick the device", error))
    }

    fn table(&self, chain: &[Descriptor]) -> Result<Pages> {
        let table = self.ram.allocate(chain.len() as u64 * DESCRIPTOR_SIZE)?;
        for (index, descriptor) in chain.iter().enumerate() {
            table.write(index as u64 * DESCRIPTOR_SIZE, &descriptor.to_bytes())?;
        }
        Ok(table)
    }

    fn ring(&self) -> MutexGuard<'_, Ring<Ticket>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ring as a hostile driver gets at it.
pub(super) struct RawRing<'a>(&'a mut Ring<Ticket>);

impl RawRing<'_> {
    pub(super) fn push_head(&mut self, head: u16) -> Result<bool> {
        self.0.push_head(head)
    }

    pub(super) fn advance(&mut self, count: u16) -> Result<bool> {
        self.0.advance(count)
    }
}

fn length(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::GuestFull {
        what: "32-bit lengths",
        asked: len as u64,
    })
}
