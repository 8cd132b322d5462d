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

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::MutexGuard;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, readlink};
use vhost_user_backend::{VringMutex, VringState, VringStateGuard, VringStateMutGuard, VringT};
use virtio_queue::Error as QueueError;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

/// The guest's memory as the queues see it, always the latest.
pub(super) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// A vring.
#[derive(Clone)]
pub(super) struct Ring(VringMutex<Memory>);

impl<'a> VringStateGuard<'a, Memory> for Ring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

impl<'a> VringStateMutGuard<'a, Memory> for Ring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

impl VringT<Memory> for Ring {
    fn new(memory: Memory, max_queue_size: u16) -> Result<Self, QueueError> {
        VringMutex::new(memory, max_queue_size).map(Self)
    }

    fn get_ref(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.0.get_ref()
    }

    fn get_mut(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.0.get_mut()
    }

    fn add_used(&self, head: u16, len: u32) -> Result<(), QueueError> {
        self.0.add_used(head, len)
    }

    fn signal_used_queue(&self) -> io::Result<()> {
        self.0.signal_used_queue()
    }

    fn enable_notification(&self) -> Result<bool, QueueError> {
        self.0.enable_notification()
    }

    fn disable_notification(&self) -> Result<(), QueueError> {
        self.0.disable_notification()
    }

    fn needs_notification(&self) -> Result<bool, QueueError> {
        self.0.needs_notification()
    }

    fn set_enabled(&self, enabled: bool) {
        self.0.set_enabled(enabled);
    }

    fn set_queue_info(&self, table: u64, available: u64, used: u64) -> Result<(), QueueError> {
        self.0.set_queue_info(table, available, used)
    }

    fn queue_next_avail(&self) -> u16 {
        self.0.queue_next_avail()
    }

    fn set_queue_next_avail(&self, base: u16) {
        self.0.set_queue_next_avail(base);
    }

    fn set_queue_next_used(&self, index: u16) {
        self.0.set_queue_next_used(index);
    }

    fn queue_used_idx(&self) -> Result<u16, QueueError> {
        self.0.queue_used_idx()
    }

    fn set_queue_size(&self, size: u16) {
        self.0.set_queue_size(size);
    }

    fn set_queue_event_idx(&self, enabled: bool) {
        self.0.set_queue_event_idx(enabled);
    }

    fn set_queue_ready(&self, ready: bool) {
        self.0.set_queue_ready(ready);
    }

    fn set_kick(&self, file: Option<File>) {
        self.0.set_kick(file.and_then(|file| event(file, "kick")));
    }

    fn read_kick(&self) -> io::Result<bool> {
        match self.0.read_kick() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(self.0.get_ref().is_enabled())
            }
            result => result,
        }
    }

    fn set_call(&self, file: Option<File>) {
        self.0.set_call(file.and_then(|file| event(file, "call")));
    }

    fn set_err(&self, file: Option<File>) {
        self.0.set_err(file);
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
