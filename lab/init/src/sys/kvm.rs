//! Just enough of KVM to have memory slots refused
//! (Documentation/virt/kvm/api.rst).
#![expect(unsafe_code, reason = "declares which structures ioctls take")]

use std::fs::{File, OpenOptions};
use std::os::fd::FromRawFd as _;

use rustix::io::Errno;

use super::ioctl::{Argument, ioctl, ioctl_value};

const CREATE_VM: u32 = 0xae01;
const SET_USER_MEMORY_REGION: u32 = 0x4020_ae46;

/// `struct kvm_userspace_memory_region`. The address is not written to by this
/// ioctl, and this module has none that would run a guest.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Slot {
    /// The slot's number.
    pub slot: u32,
    /// LOG_DIRTY_PAGES 1, READONLY 2.
    pub flags: u32,
    /// Where the guest sees it.
    pub guest_address: u64,
    /// In bytes; 0 deletes the slot.
    pub size: u64,
    /// Where it is in our address space.
    pub address: u64,
}

// SAFETY: integers only, repr(C), without gaps; see the structure for the
// address.
unsafe impl Argument for Slot {}

/// A virtual machine without processors.
#[derive(Debug)]
pub struct Vm {
    file: File,
}

impl Vm {
    /// Makes one.
    ///
    /// # Errors
    /// When /dev/kvm can't.
    pub fn new() -> std::io::Result<Self> {
        let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm")?;
        let fd = ioctl_value(&kvm, CREATE_VM, 0)?;
        // SAFETY: the ioctl succeeded, so this is a new descriptor that nobody
        // else knows.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self { file })
    }

    /// Sets a slot, rightly or wrongly.
    ///
    /// # Errors
    /// What KVM says.
    pub fn set_slot(&self, mut slot: Slot) -> Result<(), Errno> {
        ioctl(&self.file, SET_USER_MEMORY_REGION, &mut slot)?;
        Ok(())
    }
}
