//! Boots real kernels on any small machine and runs scenarios in them.
//!
//! The way of a run: [`artifacts`] finds a kernel and a QEMU, [`programs`]
//! builds the init, [`batch`] puts scenarios together that can share a machine,
//! [`workshop`] builds each machine's initramfs with the
//! [`modules`] that it needs, [`run`] listens to the machine and judges, and
//! [`outcome`] is what people and CI read.

pub mod artifacts;
pub mod batch;
pub mod conformance;
pub mod guest;
pub mod initramfs;
pub mod machine;
pub mod modules;
pub mod outcome;
pub mod programs;
pub mod run;
pub mod workshop;
