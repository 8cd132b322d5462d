//! What can go wrong with a slot, and whose fault it is.

/// What can go wrong with a slot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The VMM asked for guest addresses that can't be a slot's.
    #[error("{len:#x} bytes at guest address {guest_address:#x} are no slot's: {reason}")]
    BadPlace {
        /// Where the slot was to be.
        guest_address: u64,
        /// How long.
        len: u64,
        /// Why it can't.
        reason: &'static str,
    },
    /// The VMM asked for guest addresses that another slot has.
    #[error("slot {slot:?} has some of {len:#x} bytes at guest address {guest_address:#x}")]
    Occupied {
        /// Where the slot was to be.
        guest_address: u64,
        /// How long.
        len: u64,
        /// Whose they are; `None` for the VMM's own memory.
        slot: Option<u32>,
    },
    /// All numbers that the VMM left to us are taken.
    #[error("all {limit} slots are taken")]
    NoSlot {
        /// How many there are.
        limit: u32,
    },
    /// The VMM asked for the dirty pages of a slot that it did not have logged.
    #[error("the slot's dirty pages are not logged")]
    NotLogged,
    /// The buffer's memory was taken away while it was put into the guest.
    #[error("the buffer's memory was taken away meanwhile")]
    TakenAway,
    /// This host's KVM lacks something.
    #[error("this kernel's KVM has no {0}")]
    Missing(&'static str),
    /// KVM refused.
    #[error("{call} failed")]
    Kvm {
        /// The ioctl.
        call: &'static str,
        /// What it answered.
        source: std::io::Error,
    },
    /// The memory could not be mapped or gated.
    #[error(transparent)]
    Memory(#[from] landbridge_dmabuf::Error),
    /// The exchange refused.
    #[error(transparent)]
    Exchange(#[from] landbridge_exchange::Error),
}

impl Error {
    pub(crate) fn kvm(call: &'static str, error: kvm_ioctls::Error) -> Self {
        Self::Kvm {
            call,
            source: std::io::Error::from_raw_os_error(error.errno()),
        }
    }
}
