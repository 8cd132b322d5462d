//! One driver's time with the device: activated, used, reset once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use landbridge_device::{Device, Request};

/// A device and whether a driver has left traces in it.
///
/// The device is called with no lock held.
pub(super) struct Session {
    device: Arc<dyn Device>,
    touched: AtomicBool,
    /// What the driver accepted.
    features: AtomicU64,
}

impl Session {
    pub(super) fn new(device: Arc<dyn Device>) -> Self {
        Self {
            device,
            touched: AtomicBool::new(false),
            features: AtomicU64::new(0),
        }
    }

    pub(super) fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// The driver accepted `features`: a new driver, so nothing of the one
    /// before may be left.
    pub(super) fn activate(&self, features: u64) {
        self.reset();
        self.touch();
        self.features.store(features, Ordering::Release);
        self.device.activate(features & self.device.features());
    }

    /// The features that the driver accepted, the transport's own among them.
    pub(super) fn features(&self) -> u64 {
        self.features.load(Ordering::Acquire)
    }

    pub(super) fn handle(&self, queue: usize, request: Request) {
        self.touch();
        self.device.handle(queue, request);
        // A reset may have come meanwhile and not have met what this request
        // left behind; the next one will.
        self.touch();
    }

    pub(super) fn write_config(&self, offset: u32, data: &[u8]) {
        self.touch();
        self.device.write_config(offset, data);
    }

    /// Resets the device, once however many messages announce it. Does not
    /// wait for requests that it is handling.
    pub(super) fn reset(&self) {
        if self.touched.swap(false, Ordering::AcqRel) {
            self.device.reset();
        }
    }

    fn touch(&self) {
        self.touched.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use landbridge_device::{Reply, SharedMemory};

    use super::*;

    #[derive(Default)]
    struct Counting {
        activated: AtomicUsize,
        resets: AtomicUsize,
    }

    impl Device for Counting {
        fn id(&self) -> u32 {
            0
        }

        fn queues(&self) -> usize {
            1
        }

        fn features(&self) -> u64 {
            0b11
        }

        fn activate(&self, features: u64) {
            assert_eq!(features, 0b01, "device features only");
            self.activated.fetch_add(1, Ordering::SeqCst);
        }

        fn config(&self) -> Vec<u8> {
            Vec::new()
        }

        fn write_config(&self, _: u32, _: &[u8]) {}

        fn shared_memory(&self) -> Option<SharedMemory> {
            None
        }

        fn handle(&self, _: usize, _: Request) {}

        fn reset(&self) {
            self.resets.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_device_is_reset_once_however_many_messages_announce_it() {
        let device = Arc::new(Counting::default());
        let session = Session::new(Arc::clone(&device) as _);
        session.reset();
        let resets = || device.resets.load(Ordering::SeqCst);
        assert_eq!(resets(), 0, "nobody was there");
        for driver in 1..4 {
            session.activate(1 << 32 | 0b01);
            let (reply, _answer) = Reply::channel(0);
            let bytes = Vec::new();
            session.handle(0, Request { bytes, reply });
            session.reset();
            session.reset();
            assert_eq!(resets(), driver);
        }
        session.write_config(0, &[1]);
        session.activate(0b01);
        assert_eq!(resets(), 4, "a new driver finds a new device");
        assert_eq!(device.activated.load(Ordering::SeqCst), 4);
    }
}
