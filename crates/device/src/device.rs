//! The device's side of the seam.

use crate::Request;

/// A shared memory region that a device offers (virtio 1.3, section 2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedMemory {
    /// The region's id (`shmid`), as the device type defines it.
    pub id: u8,
    /// Its size in bytes: a power of two and a multiple of the page size.
    pub size: u64,
}

/// A virtio device without a transport.
///
/// # Implementers
/// Every method may be called from any thread, [`handle`](Device::handle) of
/// different queues at the same time. A guest's input never panics and never
/// blocks for ever. Every [`Request`] is answered: through its
/// [`Reply`](crate::Reply), now or later, or by dropping it.
///
/// # Callers
/// A transport holds none of its own locks while it calls, because a device
/// may wait for a request to the VMM inside. Requests of one queue are handed
/// over in the order in which the driver made them available.
pub trait Device: Send + Sync {
    /// The virtio device id (virtio 1.3, section 5).
    fn id(&self) -> u32;

    /// How many virtqueues the device has.
    fn queues(&self) -> usize;

    /// The device-specific feature bits that it offers (bits 0 to 23).
    fn features(&self) -> u64;

    /// The features that the driver accepted. Called before the first request.
    fn activate(&self, features: u64);

    /// The device's configuration space as it is now.
    fn config(&self) -> Vec<u8>;

    /// The driver wrote `data` at `offset` of the configuration space.
    fn write_config(&self, offset: u32, data: &[u8]);

    /// The shared memory region that the device offers, if it has one.
    fn shared_memory(&self) -> Option<SharedMemory>;

    /// One request of the driver on queue number `queue`.
    fn handle(&self, queue: usize, request: Request);

    /// Back to the state of a new device: the driver, the guest or the VMM is
    /// gone. Resources are released and windows unmapped when this returns;
    /// replies still outstanding go nowhere.
    fn reset(&self);
}
