//! What a virtio device is to any transport.
//!
//! A transport (vhost-user, or one day something else) moves requests and
//! replies; a device gives them meaning. They meet here and know nothing else
//! of each other: the transport never reads a command, the device never sees a
//! descriptor chain, a socket or a guest address.
//!
//! Followed: virtio 1.3, sections 2.1 to 2.10 (facilities of a device).

#![forbid(unsafe_code)]

mod device;
mod request;

pub use device::{Device, SharedMemory};
pub use request::{Reply, Request};
