//! A device behind vhost-user: what `vhost-user-backend` calls.
//!
//! Followed: the vhost-user protocol of QEMU, `docs/interop/vhost-user.rst`.
//!
//! Nothing here holds a lock while the device is called, and the device may
//! wait for the VMM inside: a lock shared by the thread that waits for
//! `SHMEM_MAP` and the thread that serves `SET_MEM_TABLE` stops the whole VM.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use landbridge_device::Device;
use vhost::vhost_user::Backend as Channel;
use vhost::vhost_user::message::{
    VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures,
};
use vhost_user_backend::{VhostUserBackend, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use vm_memory::{GuestAddressSpace, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use super::link::Link;
use super::pause::{Place, Stop, Verdict};
use super::queue::{Continue, Queue};
use super::ring::{Memory, Ring, Watch};
use super::session::Session;

/// The longest queue that a driver may choose.
pub const MAX_QUEUE_SIZE: usize = 1024;

/// One connection of a device to a VMM.
pub(super) struct Handler {
    session: Session,
    link: Link,
    /// The guest's memory as the queues see it. The crate puts what a VMM
    /// announces into an address space of its own before anybody can look at
    /// it; here it comes after it was looked at.
    checked: Memory,
    queues: Vec<Arc<Queue>>,
    rings: OnceLock<Vec<Ring>>,
    stopping: AtomicBool,
    /// Set from the first queue's stop on, until it is known what it was.
    stop: Mutex<Option<Stop>>,
}

impl Handler {
    pub(super) fn new(device: Arc<dyn Device>, link: Link) -> Self {
        if let Some(region) = device.shared_memory() {
            link.set_region(region.id);
        }
        let checked = Memory::new(GuestMemoryMmap::new());
        let queues = (0..device.queues())
            .map(|_| Queue::new(checked.clone()))
            .collect();
        Self {
            session: Session::new(device),
            link,
            checked,
            queues,
            rings: OnceLock::new(),
            stopping: AtomicBool::new(false),
            stop: Mutex::default(),
        }
    }

    /// The rings that the crate made for it.
    pub(super) fn take_rings(self: &Arc<Self>, rings: Vec<Ring>) {
        for (index, ring) in rings.iter().enumerate() {
            let watch: Weak<dyn Watch> = Arc::<Self>::downgrade(self);
            ring.tell(index, watch);
        }
        // There is one daemon for each handler.
        let _ = self.rings.set(rings);
    }

    /// The event number that makes a worker look whether it should end. Lower
    /// ones belong to queues.
    pub(super) fn wake_event(&self) -> u64 {
        self.queues.len() as u64 + 1
    }

    /// The VMM is gone, or is to be left: nothing reaches the guest any more,
    /// and the workers end as soon as they look.
    pub(super) fn end(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop_all();
        self.session.reset();
    }

    /// The workers have ended: takes away what requests that were being
    /// handled during [`Handler::end`] left behind, and forgets the VMM.
    pub(super) fn finish(&self) {
        self.session.reset();
        self.link.disconnect();
    }

    fn stop_all(&self) {
        *self.stop() = None;
        for queue in &self.queues {
            queue.stop();
        }
    }

    fn stop(&self) -> MutexGuard<'_, Option<Stop>> {
        // Never held while something is called that could panic.
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, index: usize) -> Option<&Ring> {
        self.rings.get()?.get(index)
    }

    fn place(ring: &Ring) -> Place {
        Place::of(ring.get_ref().get_queue())
    }

    /// What the stop was, if there was one and `queue` is about to go on.
    fn verdict(&self, queue: usize) -> Option<Verdict> {
        let stop = self.stop();
        let stop = stop.as_ref().filter(|stop| stop.has(queue))?;
        let rings = self.rings.get()?;
        let now = |index: usize| Self::place(&rings[index]);
        Some(stop.verdict(queue, self.session.features(), now))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl VhostUserBackend for Handler {
    type Bitmap = ();
    type Vring = Ring;

    fn num_queues(&self) -> usize {
        self.queues.len()
    }

    fn max_queue_size(&self) -> usize {
        MAX_QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        self.session.device().features()
            | 1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn acked_features(&self, features: u64) {
        if let Some(stop) = self.stop().as_mut() {
            // Perhaps by the driver that is there already.
            stop.accept(features);
            return;
        }
        self.link.forget_maps();
        self.session.activate(features);
    }

    /// Not among them: CONFIGURE_MEM_SLOTS. With it QEMU 11.1 remembers each
    /// region that it announced, and when a device starts it looks up those that
    /// are gone by addresses that are no longer its own. A window's maps go
    /// while the device is stopped, by every reset of a driver that has some, so
    /// that the next start of any of its devices would be QEMU's end. Without it
    /// QEMU sends whole tables, of no more than eight regions, and nothing while
    /// there are more.
    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        let mut features = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::BACKEND_SEND_FD
            | VhostUserProtocolFeatures::RESET_DEVICE;
        // Objects are shared by nobody: they are a way to wait for the VMM.
        features.set(
            VhostUserProtocolFeatures::SHMEM | VhostUserProtocolFeatures::SHARED_OBJECT,
            self.session.device().shared_memory().is_some(),
        );
        features
    }

    fn reset_device(&self) {
        self.stop_all();
        self.session.reset();
        self.link.forget_maps();
    }

    fn set_event_idx(&self, _enabled: bool) {
        // The rings are told by the crate; nothing else depends on it.
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        // A VMM asks for as much as it thinks the space has; beyond our end it
        // reads zeros. The crate has bounded `size`.
        let config = self.session.device().config();
        let mut bytes: Vec<u8> = config
            .into_iter()
            .skip(offset as usize)
            .take(size as usize)
            .collect();
        bytes.resize(size as usize, 0);
        bytes
    }

    fn set_config(&self, offset: u32, data: &[u8]) -> io::Result<()> {
        self.session.write_config(offset, data);
        Ok(())
    }

    fn update_memory(&self, announced: Memory) -> io::Result<()> {
        let all = announced.memory();
        let rest = self.link.table().replace(&all, &self.link.lent())?;
        if let Some(rest) = &rest {
            replace(&announced, rest.clone());
        }
        replace(
            &self.checked,
            rest.unwrap_or_else(|| GuestMemoryMmap::clone(&all)),
        );
        Ok(())
    }

    fn set_backend_req_fd(&self, channel: Channel) {
        self.link.connect(channel);
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        (0..self.queues.len()).map(|queue| 1 << queue).collect()
    }

    fn stop_vring(&self, queue: u32) -> io::Result<()> {
        let index = queue as usize;
        let (Some(queue), Some(ring)) = (self.queues.get(index), self.ring(index)) else {
            return Ok(());
        };
        // The driver is leaving, or the VM is paused. Which it was shows when
        // the queue goes on: see `starts`.
        queue.hold();
        let place = Self::place(ring);
        self.stop().get_or_insert_default().stop(index, place);
        Ok(())
    }

    fn handle_event(
        &self,
        event: u16,
        _events: EventSet,
        rings: &[Ring],
        thread: usize,
    ) -> io::Result<()> {
        if self.is_stopping() {
            // An error is what ends a worker. The crate's exit event would do
            // so without one, but leaks a descriptor a worker.
            return Err(io::Error::other("the connection has ended"));
        }
        // Each thread has one queue, whose event it calls 0.
        if let (0, Some(queue), [ring]) = (event, self.queues.get(thread), rings) {
            queue.drain(ring, |request| {
                self.session.handle(thread, request);
                match self.is_stopping() {
                    true => Continue::No,
                    false => Continue::Yes,
                }
            });
        }
        Ok(())
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        let mut sizes = [0; 256];
        let region = self.session.device().shared_memory();
        if let Some(region) = region {
            sizes[usize::from(region.id)] = region.size;
        }
        Ok(VhostUserShMemConfig::new(
            u32::from(region.is_some()),
            &sizes,
        ))
    }
}

/// On the thread that serves the VMM, as everything that changes `stop`.
impl Watch for Handler {
    fn starts(&self, ring: usize) {
        if let Some(Verdict::End(features)) = self.verdict(ring) {
            self.stop_all();
            self.link.forget_maps();
            match features {
                Some(features) => self.session.activate(features),
                None => self.session.reset(),
            }
        }
    }

    fn started(&self, index: usize) {
        let mut stop = self.stop();
        let Some(paused) = stop.as_mut().filter(|stop| stop.has(index)) else {
            return;
        };
        if paused.go_on(index) {
            *stop = None;
        }
        drop(stop);
        if let (Some(queue), Some(ring)) = (self.queues.get(index), self.ring(index)) {
            queue.release(ring);
        }
    }
}

/// Only the thread that serves the VMM replaces memory; queues read it without
/// a lock.
fn replace(memory: &Memory, with: GuestMemoryMmap) {
    let memory = memory.lock();
    memory.unwrap_or_else(PoisonError::into_inner).replace(with);
}
