//! The guest's side of a host-visible window, as a VMM keeps it.
//!
//! Whatever QEMU 11.1 refuses is refused here, in the same way: what leaves
//! the window, wraps, overlaps, names another region, or is longer than its
//! file, and an unmapping that is not exactly one mapping. What kills QEMU (an
//! offset that is not page-aligned, more than 511 mappings) is refused too, so
//! that a device that would kill it is found out here. And as QEMU does, it
//! acknowledges first: what it answered becomes so when it takes up the next
//! request, so that a device that doesn't wait is found out as well.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use landbridge_dmabuf::{Access, Error as MemoryError, Identity, Piece, View, Window};
use vhost::vhost_user::message::{VhostUserMMap, VhostUserSharedMsg};
use vhost::vhost_user::{HandlerResult, VhostUserFrontendReqHandler};

use super::ram::PAGE;
use crate::asserted;
use crate::error::Result;

/// How many mappings QEMU survives.
const MAX_MAPS: usize = 511;

/// What is mapped at one place of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowMap {
    /// Where in the window, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// Which file: equal for every descriptor of the same memory.
    pub identity: Identity,
}

/// The guest's host-visible window.
#[derive(Debug)]
pub struct GuestWindow {
    region: u8,
    window: Window,
    state: Mutex<State>,
    stalls: Mutex<usize>,
    moved_on: Condvar,
}

/// What is in the window, and what is still to become so.
#[derive(Debug, Default)]
struct State {
    maps: BTreeMap<u64, WindowMap>,
    late: Option<Late>,
}

/// What was acknowledged and has not taken effect.
#[derive(Debug, Clone, Copy)]
enum Late {
    /// The mapping at this offset is there, and the guest does not see it.
    Map(u64),
    /// This is to go, and the guest still reaches it.
    Unmap { offset: u64, len: u64 },
}

impl GuestWindow {
    pub(super) fn new(region: u8, size: u64) -> Result<Self> {
        let size = usize::try_from(size).map_err(|_| crate::Error::GuestFull {
            what: "address space",
            asked: size,
        })?;
        Ok(Self {
            region,
            window: Window::reserve(size)?,
            state: Mutex::default(),
            stalls: Mutex::new(0),
            moved_on: Condvar::new(),
        })
    }

    /// The id of the device's shared memory region (`shmid`).
    pub fn region(&self) -> u8 {
        self.region
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.window.len() as u64
    }

    /// What is mapped, in the order of the offsets.
    pub fn maps(&self) -> Vec<WindowMap> {
        self.lock().maps.values().copied().collect()
    }

    /// Copies bytes out, as a program in the guest reads them.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) where nothing is mapped.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let _state = self.reach(offset)?;
        let mut bytes = vec![0; len];
        self.window.copy_to(offset as usize, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies bytes in, as a program in the guest writes them.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) where nothing is mapped.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let _state = self.reach(offset)?;
        Ok(self.window.copy_from(offset as usize, bytes)?)
    }

    /// Volatile access to a part of the window. While it lasts, nothing is
    /// mapped or unmapped, so it may not wait for the device.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) where nothing is mapped.
    pub fn with<R>(
        &self,
        offset: u64,
        len: usize,
        access: impl FnOnce(View<'_>) -> R,
    ) -> Result<R> {
        let _state = self.reach(offset)?;
        Ok(self.window.with(offset as usize, len, access)?)
    }

    /// Makes the VMM slow: until the returned value is dropped, it answers no
    /// request to map or unmap.
    pub fn stall(&self) -> Stall<'_> {
        *self.stalls() += 1;
        Stall(self)
    }

    /// Takes everything away, as a VMM does when the device is reset.
    pub(super) fn clear(&self) -> Result<()> {
        let mut state = self.lock();
        self.window.unmap(0, self.window.len())?;
        *state = State::default();
        Ok(())
    }

    fn map(&self, request: &VhostUserMMap, file: &dyn AsRawFd) -> io::Result<()> {
        let (offset, len) = (request.shm_offset, request.len);
        self.check(request)?;
        let file = asserted::duplicate(file)?;
        let identity = Identity::of(&file).map_err(io::Error::other)?;
        // As a VMM does: it maps what the device names, sealed or not.
        let piece = Piece::new(&file, request.fd_offset, len).trusting_owner();
        let mut state = self.lock();
        if state.maps.len() >= MAX_MAPS {
            return Err(refuse(request, "too many mappings"));
        }
        self.window
            .map(offset as usize, &piece, Access::ReadWrite)
            .map_err(|error| refuse(request, error))?;
        let map = WindowMap {
            offset,
            len,
            identity,
        };
        state.maps.insert(offset, map);
        state.late = Some(Late::Map(offset));
        Ok(())
    }

    fn unmap(&self, request: &VhostUserMMap) -> io::Result<()> {
        let (offset, len) = (request.shm_offset, request.len);
        self.check(request)?;
        let mut state = self.lock();
        if state.maps.get(&offset).is_none_or(|map| map.len != len) {
            return Err(refuse(request, "not exactly one mapping"));
        }
        state.late = Some(Late::Unmap { offset, len });
        Ok(())
    }

    /// Makes so what was acknowledged: the next request is taken up.
    fn settle(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(Late::Unmap { offset, len }) = state.late.take() {
            self.window
                .unmap(offset as usize, len as usize)
                .map_err(io::Error::other)?;
            state.maps.remove(&offset);
        }
        Ok(())
    }

    /// Keeps the window as it is while the guest is at `offset`.
    fn reach(&self, offset: u64) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        let map = state.maps.range(..=offset).next_back();
        match (state.late, map) {
            (Some(Late::Map(fresh)), Some((&at, map))) if at == fresh && offset - at < map.len => {
                let offset = offset as usize;
                Err(MemoryError::Vacant { offset }.into())
            }
            _ => Ok(state),
        }
    }

    fn check(&self, request: &VhostUserMMap) -> io::Result<()> {
        let (offset, len) = (request.shm_offset, request.len);
        if request.shmid != self.region {
            return Err(refuse(request, "unknown region"));
        }
        if !offset.is_multiple_of(PAGE) {
            return Err(refuse(request, "offset not page-aligned"));
        }
        match offset.checked_add(len) {
            Some(end) if end <= self.size() => Ok(()),
            _ => Err(refuse(request, "outside the window")),
        }
    }

    /// Waits while the VMM is to be slow.
    fn wait(&self) {
        let stalls = self.stalls();
        let _moved_on = self
            .moved_on
            .wait_while(stalls, |stalls| *stalls > 0)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stalls(&self) -> MutexGuard<'_, usize> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VhostUserFrontendReqHandler for GuestWindow {
    fn shmem_map(&self, request: &VhostUserMMap, file: &dyn AsRawFd) -> HandlerResult<u64> {
        self.wait();
        self.settle()?;
        self.map(request, file).map(|()| 0)
    }

    fn shmem_unmap(&self, request: &VhostUserMMap) -> HandlerResult<u64> {
        self.wait();
        self.settle()?;
        self.unmap(request).map(|()| 0)
    }

    /// Nobody shares objects here: whatever is to be forgotten is unknown.
    fn shared_object_remove(&self, _object: &VhostUserSharedMsg) -> HandlerResult<u64> {
        self.settle()?;
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }
}

fn refuse(request: &VhostUserMMap, reason: impl std::fmt::Display) -> io::Error {
    tracing::debug!(?request, %reason, "the window refuses");
    // The protocol has room for a number only.
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// While this lives, the VMM answers no request to map or unmap.
#[derive(Debug)]
pub struct Stall<'a>(&'a GuestWindow);

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        *self.0.stalls() -= 1;
        self.0.moved_on.notify_all();
    }
}
