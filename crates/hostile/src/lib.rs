//! What a hostile guest sends to a virtio-gpu device, and what must come back.
//!
//! A table as data, for whoever has a driver to send it with: the embedded
//! guest (`landbridge/tests/hostile_guest`), or a program in a real VM that
//! drives its PCI device itself (the lab). [`layout`] says how the guest and its
//! device must be for the addresses and limits in the table to mean what they
//! say. Attacks that need more than requests and answers, a VMM that dies or
//! a writer on the host, are where the means for them are.

pub mod commands;
pub mod layout;
mod row;
mod rows;

pub use row::{Attack, Expect, OK, Request, Row, Seen, Then, judge};
pub use rows::{all, commands as optional_commands};
