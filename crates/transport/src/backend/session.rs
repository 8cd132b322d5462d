//! One driver's time with the device: activated, used, reset once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use landbridge_device::{Device, Request};

/// A device and whether a driver has left traces in it.
///
/// The device is called with no lock held.
pub(super) struct Session {
    device: Arc<dyn Device>,
    touched: AtomicBool,
}

impl Session {
    pub(super) fn new(device: Arc<dyn Device>) -> Self {
        Self {
            device,
            touched: AtomicBool::new(false),
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
        self.device.activate(features & self.device.features());
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
