//! Between a device and its driver: vhost-user.
//!
//! - [`backend`] serves a [`Device`](landbridge_device::Device) to QEMU or any
//!   other VMM;
//! - [`guest`] is a driver in this process, behind a small VMM: it speaks to
//!   the same backend over a socket, so that a demo and the tests run the very
//!   code that QEMU meets.

mod asserted;
pub mod backend;
pub mod error;
pub mod guest;

pub use backend::{Backend, Connection, Link};
pub use error::{Error, Result};
pub use guest::EmbeddedGuest;
