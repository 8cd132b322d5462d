//! What the VMM tells the device of its own window, as QEMU 11.1 does: when a
//! map or an unmap takes effect, which is after its answer and before the next
//! one, it sends the whole memory table, with every file anew, or nothing while
//! there are more regions than one message holds.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vhost::vhost_user::message::{VhostUserMMap, VhostUserSharedMsg};
use vhost::vhost_user::{Frontend, HandlerResult, VhostUserFrontendReqHandler};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo};

use super::ram::{RAM_BASE, Ram};
use super::window::GuestWindow;
use crate::asserted;

/// Where the guest's firmware put the window, guest-physical.
const WINDOW_BASE: u64 = 0x80_0000_0000;

/// Where the VMM says that it has the window; see [`VMM_BASE`].
const VMM_WINDOW_BASE: u64 = 0x7e00_0000_0000;

/// Where the VMM says that it has the guest's memory. The backend translates
/// ring addresses back with it and nobody goes there, so any address will do.
pub(super) const VMM_BASE: u64 = 0x7f00_0000_0000;

/// How many regions one message holds.
const MAX_REGIONS: usize = 8;

/// The window, for the device's requests.
pub(super) struct Announcer {
    window: Arc<GuestWindow>,
    /// Present where the VMM announces.
    announced: Option<Announced>,
}

struct Announced {
    frontend: Frontend,
    ram: Arc<Ram>,
    state: Mutex<State>,
}

/// What is in the window: files and their lengths, by offset.
#[derive(Default)]
struct State {
    maps: BTreeMap<u64, (OwnedFd, u64)>,
    /// The device was not told yet.
    changed: bool,
}

impl Announcer {
    /// Only the window.
    pub(super) fn silent(window: Arc<GuestWindow>) -> Self {
        Self {
            window,
            announced: None,
        }
    }

    /// The window, and a device that is told of what is in it.
    pub(super) fn new(window: Arc<GuestWindow>, frontend: Frontend, ram: Arc<Ram>) -> Self {
        let announced = Announced {
            frontend,
            ram,
            state: Mutex::default(),
        };
        Self {
            window,
            announced: Some(announced),
        }
    }

    /// The window has been emptied.
    pub(super) fn forget(&self) {
        if let Some(announced) = &self.announced {
            *announced.state() = State::default();
        }
    }
}

impl Announced {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the device, if it was not told.
    fn catch_up(&self) -> io::Result<()> {
        let mut state = self.state();
        if !std::mem::take(&mut state.changed) {
            return Ok(());
        }
        let window = state.maps.iter().map(|(offset, (file, len))| {
            let place = (WINDOW_BASE + offset, *len, VMM_WINDOW_BASE + offset);
            region(place, file)
        });
        let ram = region((RAM_BASE, self.ram.size(), VMM_BASE), &self.ram.file());
        let all: Vec<_> = std::iter::once(ram).chain(window).collect();
        if all.len() > MAX_REGIONS {
            return Ok(());
        }
        let answer = self.frontend.set_mem_table(&all);
        answer.map(drop).map_err(io::Error::other)
    }
}

/// A region at a guest-physical address, of a length, at an address of the VMM.
pub(super) fn region(
    (start, len, vmm): (u64, u64, u64),
    file: &impl AsRawFd,
) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr: start,
        memory_size: len,
        userspace_addr: vmm,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    }
}

impl VhostUserFrontendReqHandler for Announcer {
    fn shmem_map(&self, request: &VhostUserMMap, file: &dyn AsRawFd) -> HandlerResult<u64> {
        self.window.shmem_map(request, file)?;
        if let Some(announced) = &self.announced {
            announced.catch_up()?;
            let file = asserted::duplicate(file)?;
            let mut state = announced.state();
            state.maps.insert(request.shm_offset, (file, request.len));
            state.changed = true;
        }
        Ok(0)
    }

    fn shmem_unmap(&self, request: &VhostUserMMap) -> HandlerResult<u64> {
        self.window.shmem_unmap(request)?;
        if let Some(announced) = &self.announced {
            announced.catch_up()?;
            let offset = request.shm_offset;
            let mut state = announced.state();
            state.maps.remove(&offset);
            state.changed = true;
        }
        Ok(0)
    }

    fn shared_object_remove(&self, object: &VhostUserSharedMsg) -> HandlerResult<u64> {
        let answer = self.window.shared_object_remove(object);
        if let Some(announced) = &self.announced {
            announced.catch_up()?;
        }
        answer
    }
}
