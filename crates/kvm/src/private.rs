//! Memory that only a guest reaches: guest_memfd.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use kvm_ioctls::Cap;
use landbridge_dmabuf::{Access, Bracketed, Identity, Storage};
use landbridge_exchange::Exporter;
use landbridge_exchange::ranges::{GuestPhysical, RangeList};
use landbridge_exchange::terms::{MemoryModel, Offer};
use rustix::fs::FallocateFlags;

use crate::error::Error;
use crate::slots::{Claim, Slots};
use crate::sys::{self, Inserted};

/// `GUEST_MEMFD_FLAG_MMAP`, without `GUEST_MEMFD_FLAG_INIT_SHARED`: KVM runs an
/// ordinary guest on the descriptor alone, and a fault on a mapping of it is a
/// SIGBUS for whoever maps it all the same. Without the flag, KVM runs only
/// confidential guests on it.
const GUEST_RUNS_ON_IT: u64 = 1;

const NAME: &str = "guest_memfd";

/// Memory that its guest reaches and nothing else does: not this process, no
/// other guest, no device, no system call. There is no way to map it here.
///
/// As an exporter it is private and revocable: a revocation empties it, and
/// nothing brings the bytes back.
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

    /// Private memory by its descriptor.
    pub(crate) fn of(memory: OwnedFd, size: u64) -> Self {
        Self { memory, size }
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

impl Exporter for PrivateMemory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn offer(&self) -> Offer {
        Offer {
            model: MemoryModel::Revocable { restorable: false },
            writable: true,
            private: true,
            ..Offer::NOTHING
        }
    }

    fn identity(&self) -> Option<Identity> {
        Identity::of(&self.memory).ok()
    }

    fn map(&self, _: Access) -> Result<Bracketed, landbridge_exchange::Error> {
        Err(landbridge_exchange::Error::Export {
            exporter: NAME,
            reason: "it has no CPU mapping".to_owned(),
        })
    }

    fn storage(&self) -> Option<Storage> {
        None
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }

    fn private(&self) -> Option<BorrowedFd<'_>> {
        Some(self.memory.as_fd())
    }

    /// Whoever still has it has zeros.
    fn revoke(&self, _: &[String]) -> Result<(), landbridge_exchange::Error> {
        Ok(self.discard()?)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use landbridge_dmabuf::{Memfd, memfd};
    use landbridge_exchange::importers::cpu::CpuImport;
    use landbridge_exchange::importers::decoder::DecoderImport;
    use landbridge_exchange::importers::window::{
        MapperError, Unmapped, Window, WindowMap, WindowMapper,
    };
    use landbridge_exchange::tenant::Resource;
    use landbridge_exchange::terms::{Direction, Method, Needs};
    use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};

    use super::*;
    use crate::private_import;

    const SIZE: u64 = 0x4000;

    /// A buffer of "private" memory: a memfd, which is emptied just as a
    /// guest_memfd is, and in which a test can look.
    fn buffer(tenant: &Tenant) -> (Buffer, OwnedFd) {
        let memory = Memfd::create("private", SIZE, memfd::Options::default()).unwrap();
        let memory = memory.as_fd().try_clone_to_owned().unwrap();
        let copy = memory.try_clone().unwrap();
        let private = PrivateMemory::of(memory, SIZE);
        (Exchange::new().publish(private, tenant).unwrap(), copy)
    }

    fn tenant() -> Tenant {
        Tenant::new("vmm", Limits::NONE)
    }

    struct Nobody;

    impl WindowMapper for Nobody {
        fn map(&self, _: &WindowMap<'_>) -> Result<(), MapperError> {
            panic!("a VMM is asked to map private memory")
        }

        fn unmap(&self, _: u64, _: u64) -> Result<Unmapped, MapperError> {
            panic!("a VMM is asked to unmap private memory")
        }
    }

    #[test]
    fn private_memory_is_refused_to_all_who_would_map_it() {
        let tenant = tenant();
        let (buffer, _) = buffer(&tenant);
        let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &tenant);
        assert_eq!(
            cpu.unwrap_err().to_string(),
            "cpu can't use guest_memfd: cpu access is not offered"
        );
        let window = Window::new(Arc::new(Nobody), 1 << 20);
        let error = window.map(&buffer, 0, &tenant).unwrap_err().to_string();
        assert!(
            error.contains("descriptor access is not offered"),
            "{error}"
        );
        let decoder = DecoderImport::attach(&buffer, "decoder", &tenant);
        let error = decoder.unwrap_err().to_string();
        assert!(error.contains("exclusive access is not offered"), "{error}");
        for method in [Method::Pages, Method::Dma, Method::Ranges] {
            let needs = Needs {
                method,
                ..private_import::needs()
            };
            let refusal = buffer.ask("device", &needs).unwrap_err().to_string();
            let want = format!("device can't use guest_memfd: {method} access is not offered");
            assert_eq!(refusal, want);
        }
        assert_eq!(tenant.used(Resource::Attachments), 0);
    }

    #[test]
    fn private_memory_is_for_guests_that_let_it_go() {
        let tenant = tenant();
        let (buffer, _) = buffer(&tenant);
        let terms = buffer.ask("guest", &private_import::needs()).unwrap();
        assert_eq!(terms.method(), Method::Private);
        assert_eq!(terms.model(), MemoryModel::Revocable { restorable: false });
        assert_eq!(terms.caching(), None, "nobody maps it");
        let stubborn = Needs::new(Method::Private, Direction::ReadWrite);
        let refusal = buffer.ask("guest", &stubborn).unwrap_err().to_string();
        assert!(refusal.contains("revocable"), "{refusal}");
    }

    #[test]
    fn a_revocation_empties_private_memory_for_good() {
        let tenant = tenant();
        let (buffer, memory) = buffer(&tenant);
        rustix::io::pwrite(&memory, &[0x5a; 8], 0).unwrap();
        buffer.revoke(Duration::from_secs(5)).unwrap();
        let mut bytes = [1; 8];
        rustix::io::pread(&memory, &mut bytes, 0).unwrap();
        assert_eq!(bytes, [0; 8]);
        buffer.restore(Duration::from_secs(5)).unwrap_err();
        assert_eq!(tenant.used(Resource::Bytes), SIZE, "until it is dropped");
    }
}
