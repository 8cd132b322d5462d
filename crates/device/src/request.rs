//! A driver's request and the reply it waits for.

use std::fmt;
use std::sync::mpsc;

/// One request of a driver, read once from the guest into our own memory.
#[derive(Debug)]
pub struct Request {
    /// The bytes of the device-readable descriptors, in order.
    pub bytes: Vec<u8>,
    /// Where the answer goes.
    pub reply: Reply,
}

type Deliver = Box<dyn FnOnce(&[u8]) + Send>;

/// Where the answer to one request goes, at once or later and from any thread.
///
/// A reply that is dropped unsent returns the request to the driver with no
/// bytes written, so no request is ever lost.
pub struct Reply {
    capacity: usize,
    send: Option<Deliver>,
}

impl Reply {
    /// A reply of at most `capacity` bytes, delivered by `send`. `send` is
    /// called exactly once, with at most `capacity` bytes.
    pub fn new(capacity: usize, send: impl FnOnce(&[u8]) + Send + 'static) -> Self {
        Self {
            capacity,
            send: Some(Box::new(send)),
        }
    }

    /// A reply that arrives on a channel: what a test or a tool hands in.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel();
        let reply = Self::new(capacity, move |bytes| {
            // The receiver may be gone: then nobody waits for the answer.
            let _ = sender.send(bytes.to_vec());
        });
        (reply, receiver)
    }

    /// How many bytes the driver left room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Answers with `bytes`, cut to the capacity: a driver that left too
    /// little room gets the beginning.
    pub fn send(mut self, bytes: &[u8]) {
        self.deliver(bytes);
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if let Some(send) = self.send.take() {
            send(&bytes[..bytes.len().min(self.capacity)]);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.deliver(&[]);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_cut_to_the_room_that_the_driver_left() {
        let (reply, receiver) = Reply::channel(4);
        reply.send(b"abcdef");
        assert_eq!(receiver.recv().unwrap(), b"abcd");
    }

    #[test]
    fn a_dropped_reply_returns_the_request_empty() {
        let (reply, receiver) = Reply::channel(4);
        drop(reply);
        assert_eq!(receiver.recv().unwrap(), b"");
        assert!(receiver.recv().is_err(), "delivered exactly once");
    }
}
