//! The crate's unsafe core: what KVM is handed, it keeps following.
#![expect(
    unsafe_code,
    reason = "KVM keeps an address of ours, and a loan ends by a promise"
)]

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use kvm_bindings::{
    KVM_MEM_GUEST_MEMFD, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_create_guest_memfd,
    kvm_userspace_memory_region, kvm_userspace_memory_region2,
};
use kvm_ioctls::VmFd;
use landbridge_dmabuf::{Access, Area, LetGo, Loan};

use crate::error::Error;

/// Where a slot is and what it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) number: u32,
    pub(crate) guest_address: u64,
    pub(crate) len: u64,
}

/// A slot that KVM has. Dropping it takes it out of the guest.
pub(crate) struct Inserted {
    vm: Arc<VmFd>,
    place: Place,
    /// What the guest reaches through it; kept while KVM has the slot.
    area: Option<Arc<Area>>,
}

/// Gives KVM a slot that shows `area`.
pub(crate) fn insert(
    vm: &Arc<VmFd>,
    place: Place,
    area: &Arc<Area>,
    log_dirty: bool,
) -> Result<Inserted, Error> {
    let mut flags = 0;
    if log_dirty {
        flags |= KVM_MEM_LOG_DIRTY_PAGES;
    }
    if area.access() == Access::ReadOnly {
        flags |= KVM_MEM_READONLY;
    }
    let region = kvm_userspace_memory_region {
        slot: place.number,
        flags,
        guest_phys_addr: place.guest_address,
        // Not what the caller says: what is there.
        memory_size: area.len() as u64,
        userspace_addr: area.address() as u64,
    };
    // SAFETY: the addresses are those of an area, mapped for as long as it
    // lives, and `Inserted` keeps it alive until KVM has given the slot up. An
    // area is reached by volatile access only, so the guest breaks no reference.
    unsafe { vm.set_user_memory_region(region) }
        .map_err(|error| Error::kvm("KVM_SET_USER_MEMORY_REGION", error))?;
    Ok(Inserted {
        vm: Arc::clone(vm),
        place,
        area: Some(Arc::clone(area)),
    })
}

/// Gives KVM a slot that shows private memory, from its beginning.
pub(crate) fn insert_private(
    vm: &Arc<VmFd>,
    place: Place,
    memory: &impl AsFd,
) -> Result<Inserted, Error> {
    let region = kvm_userspace_memory_region2 {
        slot: place.number,
        flags: KVM_MEM_GUEST_MEMFD,
        guest_phys_addr: place.guest_address,
        memory_size: place.len,
        // Nothing of ours is to be reached but through the descriptor.
        userspace_addr: 0,
        guest_memfd_offset: 0,
        // A descriptor is not negative.
        guest_memfd: memory.as_fd().as_raw_fd().cast_unsigned(),
        ..kvm_userspace_memory_region2::default()
    };
    // SAFETY: the slot shows pages of the descriptor, which no reference of
    // ours leads to, as they can't be mapped. KVM follows the address only
    // where memory is not private; it is 0, where nothing is ever mapped.
    unsafe { vm.set_user_memory_region2(region) }
        .map_err(|error| Error::kvm("KVM_SET_USER_MEMORY_REGION2", error))?;
    Ok(Inserted {
        vm: Arc::clone(vm),
        place,
        area: None,
    })
}

impl Inserted {
    /// Takes the slot out of the guest.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let nothing = kvm_userspace_memory_region {
            slot: self.place.number,
            guest_phys_addr: self.place.guest_address,
            ..kvm_userspace_memory_region::default()
        };
        // SAFETY: a size of 0 deletes the slot; KVM follows no address then.
        unsafe { self.vm.set_user_memory_region(nothing) }
            .map_err(|error| Error::kvm("KVM_SET_USER_MEMORY_REGION", error))
    }
}

impl Drop for Inserted {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            // KVM may still follow the addresses: they stay the area's.
            std::mem::forget(self.area.take());
            tracing::error!(%error, slot = self.place.number, "a slot is left in the guest");
        }
    }
}

impl fmt::Debug for Inserted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.place, f)
    }
}

/// Makes memory that only guests reach.
pub(crate) fn create_guest_memfd(vm: &VmFd, size: u64, flags: u64) -> Result<OwnedFd, Error> {
    let asked = kvm_create_guest_memfd {
        size,
        flags,
        reserved: [0; 6],
    };
    let fd = vm
        .create_guest_memfd(asked)
        .map_err(|error| Error::kvm("KVM_CREATE_GUEST_MEMFD", error))?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else
    // knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a slot's area showed is gone from it: replaced, or unmapped with it.
///
/// # Invariants
/// Made by [`Slot`](crate::Slot) only, after its area has shown something else,
/// or was dropped before anybody else had it.
#[derive(Debug)]
#[must_use = "the loan of what was shown is to be given back"]
pub(crate) struct Gone(());

impl Gone {
    /// See the invariants.
    pub(crate) fn from_area() -> Self {
        Self(())
    }
}

/// Ends the loan of what a slot showed and does not show any more. The loan's
/// descriptor was given to nobody but that slot.
pub(crate) fn give_back(loan: Loan, _gone: Gone) {
    // SAFETY: the area's mapping of the descriptor was the only one, and is gone;
    // replacing or unmapping it took it out of KVM's page tables as well, before
    // the call returned (an MMU notifier), and the area has dropped the duplicate
    // of the descriptor that it had for its gates.
    loan.returned(unsafe { LetGo::assert() });
}
