//! A device served over vhost-user, to QEMU or to any other VMM.
//!
//! ```text
//!   VMM ──socket──▶ Handler ──▶ Session ──▶ Device
//!    ▲                 │                     │
//!    │ rings, kicks    ▼                     │
//!    └──────────────▶ Queue ──Request/Reply──┤
//!    ▲                                       │
//!    └── SHMEM_MAP, SHMEM_UNMAP ◀── Link ◀───┘
//! ```
//!
//! A [`Link`] is made first, for the device to reach its VMM by; then the
//! device; then a [`Backend`] of both, which serves one [`Connection`] after
//! another. Each queue has a thread of its own, so that a request that waits on
//! one does not hold up another.
//!
//! What a driver may do wrong, and what happens:
//! - a malformed chain is given back with nothing written (see [`chain`]), and
//!   the queue goes on;
//! - a head outside the descriptor table can't be given back and is skipped;
//! - more heads than the queue holds, or rings outside the guest's memory:
//!   the queue rests until the driver restarts it.

pub mod chain;
mod connection;
mod gate;
mod handler;
mod link;
mod memory;
mod pause;
mod private;
mod queue;
mod ring;
mod session;

pub use connection::{Backend, Connection, Stopper};
pub use handler::MAX_QUEUE_SIZE;
pub use link::Link;
pub(crate) use link::{Acknowledged, Unsent};
