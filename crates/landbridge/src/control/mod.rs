//! The control socket of `landbridge serve`: lines of JSON, version 1.
//!
//! docs/control-protocol.md is the reference for other programs. Here are both
//! ends: the [`Server`] in front of a [`Service`], and the [`Client`] behind
//! `landbridge status` and `landbridge screenshot`.

mod client;
mod lines;
mod passing;
pub mod protocol;
mod server;
pub mod status;
mod stop;

pub use client::Client;
pub use lines::{LineError, Lines};
pub use server::{Server, Service, Shot};
pub use stop::{Stop, Woken};
