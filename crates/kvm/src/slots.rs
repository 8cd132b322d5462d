//! All slots of one guest.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kvm_ioctls::{Cap, VcpuExit, VcpuFd, VmFd};
use landbridge_dmabuf::Gatekeeper;

use crate::book::Book;
use crate::changes::Changes;
use crate::error::Error;
use crate::sys::Place;

/// Which slot numbers are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotNumbers {
    /// All that KVM has, from this one on.
    From(u32),
    /// These.
    These(Range<u32>),
}

/// All slots of one guest that show buffers. The VMM keeps the guest's own
/// memory in slots of its own, whose numbers and addresses it tells.
pub struct Slots {
    vm: Arc<VmFd>,
    book: Mutex<Book>,
    pub(crate) changes: Changes,
    keeper: OnceLock<Gatekeeper>,
    reruns: AtomicU64,
}

impl Slots {
    /// Slots of the guest `vm`, with numbers out of `numbers`.
    pub fn new(vm: Arc<VmFd>, numbers: SlotNumbers) -> Arc<Self> {
        let numbers = match numbers {
            SlotNumbers::These(numbers) => numbers,
            SlotNumbers::From(first) => {
                let limit = vm.check_extension_int(Cap::NrMemslots);
                first..u32::try_from(limit).unwrap_or(0).max(first)
            }
        };
        Arc::new(Self {
            vm,
            book: Mutex::new(Book::new(numbers)),
            changes: Changes::default(),
            keeper: OnceLock::new(),
            reruns: AtomicU64::new(0),
        })
    }

    /// Notes that the VMM has `len` bytes at `guest_address` for itself, so
    /// that no slot is put there.
    pub fn occupy(&self, guest_address: u64, len: u64) -> Result<(), Error> {
        self.book().occupy(guest_address, len)
    }

    /// How many slots there are.
    pub fn count(&self) -> usize {
        self.book().slots()
    }

    /// Runs a processor until it exits, and handles the exit. Where it came out
    /// with EFAULT because a slot was just changed, it is run again.
    pub fn run<R>(
        &self,
        vcpu: &mut VcpuFd,
        handle: impl FnOnce(VcpuExit<'_>) -> R,
    ) -> Result<R, kvm_ioctls::Error> {
        loop {
            let seen = self.changes.seen();
            match vcpu.run() {
                Ok(exit) => return Ok(handle(exit)),
                Err(error) if error.errno() == libc::EFAULT && self.changes.any_since(seen) => {
                    self.reruns.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How often [`run`](Self::run) ran a processor again.
    pub fn reruns(&self) -> u64 {
        self.reruns.load(Ordering::Relaxed)
    }

    /// Who keeps the gates; made when the first one is needed.
    pub(crate) fn keeper(&self) -> Result<&Gatekeeper, Error> {
        if let Some(keeper) = self.keeper.get() {
            return Ok(keeper);
        }
        let keeper = Gatekeeper::new()?;
        Ok(self.keeper.get_or_init(|| keeper))
    }

    pub(crate) fn vm(&self) -> &Arc<VmFd> {
        &self.vm
    }

    /// Takes a number and addresses, until the claim is dropped.
    pub(crate) fn claim(self: &Arc<Self>, guest_address: u64, len: u64) -> Result<Claim, Error> {
        let number = self.book().take(guest_address, len)?;
        Ok(Claim {
            slots: Arc::clone(self),
            place: Place {
                number,
                guest_address,
                len,
            },
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic between its two changes loses a number, no more.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots")
            .field("book", &*self.book())
            .finish_non_exhaustive()
    }
}

/// A number and addresses that are taken.
#[derive(Debug)]
pub(crate) struct Claim {
    slots: Arc<Slots>,
    place: Place,
}

impl Claim {
    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.slots.book().give_back(self.place.guest_address);
    }
}
