//! A virtio-pci device driven by a program, with no driver of the kernel in
//! between: whatever the program writes into registers and rings is what the VMM
//! and the device's backend get.
//!
//! The memory that the device reads and writes is kept from the kernel by
//! `memmap=` on its command line and mapped through /dev/mem, so that its
//! physical addresses are known and the kernel comes to no harm.

mod device;
mod function;
mod rings;

pub use device::{Naked, PATIENCE};
