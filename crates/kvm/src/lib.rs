//! Buffers as KVM memory slots, for authors of VMMs.
//!
//! A guest's processor is a user of a buffer like any other, but it can't be
//! told anything: it goes on accessing whatever its slots show. So a slot here
//! never has a hole. Its place in the VMM's address space is an
//! [`Area`](landbridge_dmabuf::Area) that always shows something, and
//!
//! - **pinned** memory stays where it is until the slot is dropped, which takes
//!   it out of the guest first;
//! - **revoked** memory is replaced in one step by zero pages, or the slot is
//!   taken out and the guest's accesses become MMIO exits, as the VMM chose
//!   ([`OnRevoke`]);
//! - **moved** memory is gated (userfaultfd), copied by its exporter, replaced
//!   and faulted in again: the guest's processors wait meanwhile, and no write
//!   is lost.
//!
//! [`KvmImport`] is a buffer of the exchange in a slot, and follows it through
//! all of that by itself; a [`Slot`] is the mechanism alone. [`PrivateMemory`] is
//! an exporter of memory without a CPU mapping, [`PrivateImport`] its importer.
//!
//! `KVM_RUN` returns no EFAULT because of any of that when it is called by
//! [`Slots::run`]: the kernel gives one now and then when a mapping of a driver
//! is replaced under it, and one at every gate where the VMM has no right to a
//! userfaultfd that sees the kernel's faults; both mean "run again".
//!
//! # Dirty logging
//! | exporter | what the log of a slot has |
//! |---|---|
//! | memfd, huge pages, udmabuf, system heap | the guest's writes, page by page; a huge page is split while the log is on |
//! | guest_memfd ([`PrivateSlot`]) | nothing: KVM refuses to log it |
//!
//! Writes of this process and of devices are in no log; whoever makes them
//! knows them. After a revocation or a restoration all pages are dirty, because
//! all their bytes changed; after a move none is, because none did.

mod book;
mod changes;
mod error;
mod import;
mod private;
mod private_import;
mod slot;
mod slots;
mod sys;

pub use error::Error;
pub use import::KvmImport;
pub use private::{PrivateMemory, PrivateSlot};
pub use private_import::PrivateImport;
pub use slot::{DirtyPages, OnRevoke, Slot, SlotOptions};
pub use slots::{SlotNumbers, Slots};
