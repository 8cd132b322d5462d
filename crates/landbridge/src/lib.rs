//! The landbridge program as a library, so that tests and benchmarks run the
//! very code that a user runs.

#![forbid(unsafe_code)]

pub mod cli;
pub mod control;
pub mod demo;
mod descriptor;
pub mod events;
mod failure;
pub mod inspect;
pub mod mapinfo;
pub mod picture;
pub mod probe;
pub mod qemu;
pub mod recover;
pub mod revoke;
pub mod screenshot;
pub mod serve;
pub mod share;
pub mod status;
pub mod terminal;
pub mod top;
