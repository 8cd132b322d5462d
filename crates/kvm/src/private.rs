//! Memory that only a guest reaches: guest_memfd.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use kvm_ioctls::Cap;
use rustix::fs::FallocateFlags;

use crate::error::Error;
use crate::slots::{Claim, Slots};
use crate::sys::{self, Inserted};

/// `GUEST_MEMFD_FLAG_MMAP`, without `GUEST_MEMFD_FLAG_INIT_SHARED`: KVM runs an
/// ordinary guest on the descriptor alone, and a fault on a mapping of it is a
/// SIGBUS for whoever maps it all the same. Without the flag, KVM runs only
/// confidential guests on it.
const GUEST_RUNS_ON_IT: u64 = 1;

/// Memory that its guest reaches and nothing else does: not this process, no
/// other guest, no device, no system call. There is no way to map it here.
#[derive(Debug)]
pub struct PrivateMemory {
    memory: OwnedFd,
    size: u64,
}

impl PrivateMemory {
    /// Makes `size` zeroed bytes, whole pages, for the guest of `slots`.
    /// [`Error::Missing`] where the kernel has none for ordinary guests.
    pub fn new(slots: &Slots, size: u64) -> Result<Self, Error> {
        if !slots.vm().check_extension(Cap::GuestMemfd) {
            return Err(Error::Missing("guest_memfd"));
        }
        let memory = sys::create_guest_memfd(slots.vm(), size, GUEST_RUNS_ON_IT)?;
        Ok(Self { memory, size })
    }

    /// How many bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the bytes away from the guest: it meets zeros and runs on.
    pub fn discard(&self) -> Result<(), Error> {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&self.memory, mode, 0, self.size).map_err(|error| Error::Kvm {
            call: "fallocate",
            source: error.into(),
        })
    }
}

/// Private memory at some addresses of its guest. It can't be moved and is not
/// logged. Dropping it takes it out of the guest.
#[derive(Debug)]
pub struct PrivateSlot {
    // Field order: out of the guest, then free for others.
    _inserted: Inserted,
    claim: Claim,
    memory: PrivateMemory,
}

impl PrivateSlot {
    /// Puts `memory` at `guest_address` of its guest.
    pub fn insert(
        slots: &Arc<Slots>,
        guest_address: u64,
        memory: PrivateMemory,
    ) -> Result<Self, Error> {
        let claim = slots.claim(guest_address, memory.size)?;
        let inserted = sys::insert_private(slots.vm(), claim.place(), &memory.memory.as_fd())?;
        Ok(Self {
            _inserted: inserted,
            claim,
            memory,
        })
    }

    /// Where the guest sees it.
    pub fn guest_address(&self) -> u64 {
        self.claim.place().guest_address
    }

    /// The memory.
    pub fn memory(&self) -> &PrivateMemory {
        &self.memory
    }
}
