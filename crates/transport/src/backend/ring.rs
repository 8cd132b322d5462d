//! A vring whose worker survives a kick descriptor that is swapped under it.
//!
//! `vhost-user-backend` 0.24 ends a queue's worker when reading the kick
//! descriptor fails, and hangs it, with the vring locked, when reading blocks.
//! Both can happen without anybody's fault: an event is reported, the worker
//! is busy with another, meanwhile the driver restarts the queue with a new
//! kick descriptor, and the worker reads that one, which nobody has kicked yet.
//!
//! A VMM that means harm has more ways: a call descriptor that is full, so that
//! writing to it never returns, or something that is always ready and never
//! gives eight bytes. So only eventfds are taken, and they don't block.
//!
//! And a vring tells a [`Watch`] when it is about to go on, which the crate tells
//! nobody.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::sync::{Arc, MutexGuard, OnceLock, Weak};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, readlink};
use vhost_user_backend::{VringMutex, VringState, VringStateGuard, VringStateMutGuard, VringT};
use virtio_queue::{Error as QueueError, QueueT};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use crate::asserted;

/// The guest's memory as the queues see it, always the latest.
pub(super) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// Who is told what the VMM does with vrings, on the thread that serves it.
pub(super) trait Watch: Send + Sync {
    /// The vring is about to go on: nothing has been taken from it yet.
    fn starts(&self, ring: usize);

    /// It goes on.
    fn started(&self, ring: usize);
}

type Watched = (usize, Weak<dyn Watch>);

/// A vring.
#[derive(Clone)]
pub(super) struct Ring {
    vring: VringMutex<Memory>,
    watch: Arc<OnceLock<Watched>>,
}

thread_local! {
    /// The vrings that were made on this thread and not asked for.
    static MADE: RefCell<Vec<Ring>> = const { RefCell::new(Vec::new()) };
}

impl Ring {
    /// Runs what has the crate make vrings, and returns those, which it does not
    /// give away by itself.
    pub(super) fn made_by<T>(make: impl FnOnce() -> T) -> (T, Vec<Self>) {
        MADE.take();
        let made = make();
        (made, MADE.take())
    }

    /// From now on, tells `watch` what happens to it, under the number `index`.
    pub(super) fn tell(&self, index: usize, watch: Weak<dyn Watch>) {
        // A vring belongs to one connection.
        let _ = self.watch.set((index, watch));
    }

    /// Has its worker look whether there is something to do.
    pub(super) fn wake(&self) {
        let state = self.get_ref();
        let Some(kick) = state.get_kick() else {
            return;
        };
        let woken = asserted::duplicate(kick)
            .and_then(|kick| File::from(kick).write_all(&1_u64.to_ne_bytes()));
        if let Err(error) = woken {
            tracing::debug!(%error, "a kick that is full says so already");
        }
    }

    fn watch(&self) -> Option<(usize, Arc<dyn Watch>)> {
        let (index, watch) = self.watch.get()?;
        Some((*index, watch.upgrade()?))
    }

    /// Makes a change after which the vring goes on, if `last` is all that was
    /// missing.
    fn change(&self, last: bool, change: impl FnOnce(&VringMutex<Memory>)) {
        let watch = self.watch().filter(|_| last);
        if let Some((index, watch)) = &watch {
            watch.starts(*index);
        }
        change(&self.vring);
        if let Some((index, watch)) = watch {
            watch.started(index);
        }
    }
}

impl<'a> VringStateGuard<'a, Memory> for Ring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

impl<'a> VringStateMutGuard<'a, Memory> for Ring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

impl VringT<Memory> for Ring {
    fn new(memory: Memory, max_queue_size: u16) -> Result<Self, QueueError> {
        let ring = Self {
            vring: VringMutex::new(memory, max_queue_size)?,
            watch: Arc::default(),
        };
        MADE.with_borrow_mut(|made| made.push(ring.clone()));
        Ok(ring)
    }

    fn get_ref(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.vring.get_ref()
    }

    fn get_mut(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.vring.get_mut()
    }

    fn add_used(&self, head: u16, len: u32) -> Result<(), QueueError> {
        self.vring.add_used(head, len)
    }

    fn signal_used_queue(&self) -> io::Result<()> {
        self.vring.signal_used_queue()
    }

    fn enable_notification(&self) -> Result<bool, QueueError> {
        self.vring.enable_notification()
    }

    fn disable_notification(&self) -> Result<(), QueueError> {
        self.vring.disable_notification()
    }

    fn needs_notification(&self) -> Result<bool, QueueError> {
        self.vring.needs_notification()
    }

    fn set_enabled(&self, enabled: bool) {
        let last = enabled && self.get_ref().get_queue().ready();
        self.change(last, |vring| vring.set_enabled(enabled));
    }

    fn set_queue_info(&self, table: u64, available: u64, used: u64) -> Result<(), QueueError> {
        self.vring.set_queue_info(table, available, used)
    }

    fn queue_next_avail(&self) -> u16 {
        self.vring.queue_next_avail()
    }

    fn set_queue_next_avail(&self, base: u16) {
        self.vring.set_queue_next_avail(base);
    }

    fn set_queue_next_used(&self, index: u16) {
        self.vring.set_queue_next_used(index);
    }

    fn queue_used_idx(&self) -> Result<u16, QueueError> {
        self.vring.queue_used_idx()
    }

    fn set_queue_size(&self, size: u16) {
        self.vring.set_queue_size(size);
    }

    fn set_queue_event_idx(&self, enabled: bool) {
        self.vring.set_queue_event_idx(enabled);
    }

    fn set_queue_ready(&self, ready: bool) {
        let last = ready && self.get_ref().is_enabled();
        self.change(last, |vring| vring.set_queue_ready(ready));
    }

    fn set_kick(&self, file: Option<File>) {
        self.vring
            .set_kick(file.and_then(|file| event(file, "kick")));
    }

    fn read_kick(&self) -> io::Result<bool> {
        match self.vring.read_kick() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(self.vring.get_ref().is_enabled())
            }
            result => result,
        }
    }

    fn set_call(&self, file: Option<File>) {
        self.vring
            .set_call(file.and_then(|file| event(file, "call")));
    }

    fn set_err(&self, file: Option<File>) {
        self.vring.set_err(file);
    }
}

/// The descriptor, if it is one to kick or call by.
fn event(file: File, what: &'static str) -> Option<File> {
    let link = readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new());
    // Where /proc can't be asked, nothing is known against it.
    if let Ok(link) = link
        && link.to_bytes() != b"anon_inode:[eventfd]"
    {
        tracing::warn!(what, is = ?link, "the VMM's descriptor is no eventfd; it is not used");
        return None;
    }
    if let Err(error) = make_nonblocking(&file) {
        tracing::warn!(what, %error, "a descriptor stays blocking");
    }
    Some(file)
}

fn make_nonblocking(file: &File) -> io::Result<()> {
    let flags = fcntl_getfl(file)?;
    fcntl_setfl(file, flags | OFlags::NONBLOCK)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EventFd;

    use super::*;

    fn kick(flags: i32) -> (EventFd, File) {
        let event = EventFd::new(flags).unwrap();
        let ours = crate::asserted::duplicate(&event).unwrap();
        (event, ours.into())
    }

    #[test]
    fn a_kick_that_nobody_gave_is_no_error_and_does_not_block() {
        let memory = Memory::new(GuestMemoryMmap::new());
        let ring = Ring::new(memory, 16).unwrap();
        for flags in [0, vmm_sys_util::eventfd::EFD_NONBLOCK] {
            let (event, file) = kick(flags);
            ring.set_kick(Some(file));
            assert!(!ring.read_kick().unwrap());
            ring.set_enabled(true);
            assert!(ring.read_kick().unwrap());
            event.write(1).unwrap();
            assert!(ring.read_kick().unwrap());
            ring.set_enabled(false);
        }
    }

    #[test]
    fn a_call_that_is_full_does_not_block() {
        let ring = Ring::new(Memory::new(GuestMemoryMmap::new()), 16).unwrap();
        let (event, file) = kick(0);
        ring.set_call(Some(file));
        event.write(u64::MAX - 1).unwrap();
        let blocked = ring.signal_used_queue().unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_is_no_eventfd_is_not_used() {
        let ring = Ring::new(Memory::new(GuestMemoryMmap::new()), 16).unwrap();
        for path in ["/dev/null", "/dev/zero", "/"] {
            ring.set_kick(Some(File::open(path).unwrap()));
            assert!(ring.get_ref().get_kick().is_none(), "{path}");
            ring.set_call(Some(File::open(path).unwrap()));
            assert!(ring.get_ref().get_call().is_none(), "{path}");
        }
    }
}
