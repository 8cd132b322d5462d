//! A queue without manners, for tests of what a hostile driver can do.

use super::queue::{Pending, Queue};
use super::ring::Descriptor;
use crate::error::Result;

/// Raw access to one of the guest's queues. Well-behaved requests go on
/// working beside it, as far as the device can still serve the queue.
pub struct RawQueue<'a> {
    pub(super) queue: &'a Queue,
}

impl RawQueue<'_> {
    /// Makes a chain available as it is. Its head is the first descriptor. A
    /// `next` below the chain's length is an index into `chain`; others go
    /// into the descriptor table as they are.
    ///
    /// # Errors
    /// [`Error::GuestFull`](crate::Error::GuestFull) without enough free
    /// descriptors.
    pub fn push(&self, chain: &[Descriptor]) -> Result<Pending> {
        self.queue.submit_raw(chain)
    }

    /// Makes the descriptor `head` available, whatever it is. No answer can be
    /// waited for.
    ///
    /// # Errors
    /// [`Error::Host`](crate::Error::Host) if the kick fails.
    pub fn push_head(&self, head: u16) -> Result<()> {
        self.queue.raw(|ring| ring.push_head(head))
    }

    /// Moves the available index on without filling entries.
    ///
    /// # Errors
    /// [`Error::Host`](crate::Error::Host) if the kick fails.
    pub fn advance(&self, count: u16) -> Result<()> {
        self.queue.raw(|ring| ring.advance(count))
    }

    /// How many descriptors the queue has.
    pub fn size(&self) -> u16 {
        self.queue.place().0
    }

    /// The guest-physical address of the descriptor table.
    pub fn table(&self) -> u64 {
        self.queue.place().1.table
    }
}
