//! A PCI device's own memory: ranges of a BAR, through VFIO.
//!
//! It is revocable and restorable, other devices import it as their peer, and it
//! has no CPU mapping. The kernel takes it away whenever the device's memory goes
//! away, and tells the importers in the kernel but nobody in user space: neither
//! poll nor fdinfo of the dma-buf changes. So the device belongs to a
//! [`DeviceOwner`], who makes every call that can do it (a write to the command
//! register or the power state, both kinds of reset, the close), has the
//! exchange tell all importers first, and gives the memory back afterwards.
//!
//! A call that takes memory away waits in the kernel for fences that others put
//! into the dma-buf, without a limit. It is made on a thread of its own; when it
//! is late, the owner says [`Error::Stuck`] and goes on.

mod bar;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landbridge_dmabuf::vfio::{BarRange, Device, Effect};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::exporters::device_memory::bar::BarMemory;
use crate::exporters::device_memory::worker::Worker;
use crate::tenant::Tenant;

/// Who owns a PCI device, and makes every call that changes its memory.
#[derive(Debug)]
pub struct DeviceOwner {
    device: Arc<Device>,
    worker: Worker,
    /// Buffers of its memory that live. They keep nothing but themselves alive.
    buffers: Mutex<Vec<Buffer>>,
}

impl DeviceOwner {
    /// Takes the device. Whoever changes its memory past the owner, changes it
    /// behind its importers' backs.
    pub fn new(device: Device) -> Self {
        Self {
            device: Arc::new(device),
            worker: Worker::default(),
            buffers: Mutex::default(),
        }
    }

    /// The device, to read and to write its BARs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Publishes ranges of a BAR as one buffer.
    ///
    /// # Errors
    /// Those of [`Device::export`] and of [`Exchange::publish`];
    /// [`Error::Export`] while the device's memory is off.
    pub fn publish(
        &self,
        exchange: &Exchange,
        region: u32,
        ranges: &[BarRange],
        tenant: &Tenant,
    ) -> Result<Buffer, Error> {
        // One step, so that no call takes the memory away in between.
        let mut buffers = self.buffers();
        let memory = BarMemory::export(&self.device, region, ranges)?;
        let buffer = exchange.publish(memory, tenant)?;
        buffers.push(buffer.clone());
        Ok(buffer)
    }

    /// Gives a buffer up: the last clone of it elsewhere releases it.
    pub fn withdraw(&self, buffer: &Buffer) {
        self.buffers().retain(|own| own.id() != buffer.id());
    }

    /// Writes bytes of the configuration space. What that does to the memory is
    /// told to the importers, before it happens.
    ///
    /// # Errors
    /// [`Error::Stuck`] when the kernel is not done by `limit` from now;
    /// [`Error::Memory`] as the kernel answers.
    pub fn write_config(&self, at: u64, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        let effect = self.device.effect_of(at, bytes);
        let bytes = bytes.to_vec();
        self.change(effect, limit, move |device| device.write_config(at, &bytes))
    }

    /// Switches the device's memory on or off.
    ///
    /// # Errors
    /// As for [`write_config`](Self::write_config).
    pub fn switch_memory(&self, on: bool, limit: Duration) -> Result<(), Error> {
        let effect = if on {
            Effect::Restores
        } else {
            Effect::Revokes
        };
        self.change(effect, limit, move |device| device.switch_memory(on))
    }

    /// Resets the device (`VFIO_DEVICE_RESET`).
    ///
    /// # Errors
    /// As for [`write_config`](Self::write_config).
    pub fn reset(&self, limit: Duration) -> Result<(), Error> {
        self.change(Effect::Blinks, limit, Device::reset)
    }

    /// Resets the device's function by its own register (FLR).
    ///
    /// # Errors
    /// As for [`write_config`](Self::write_config).
    pub fn reset_function(&self, limit: Duration) -> Result<(), Error> {
        self.change(Effect::Blinks, limit, Device::reset_function)
    }

    /// The device was taken from us (its driver is being unbound, as the request
    /// interrupt tells), or we give it up: its memory never comes back. The device
    /// is closed when the owner is dropped, and nobody holds its buffers.
    pub fn close(&self, limit: Duration) {
        for buffer in std::mem::take(&mut *self.buffers()) {
            if let Err(error) = buffer.lose(limit) {
                tracing::warn!(%error, buffer = %buffer.id(), "the kernel cuts the rest off");
            }
        }
    }

    /// Makes a call with this effect, with the importers told.
    fn change(
        &self,
        effect: Effect,
        limit: Duration,
        call: impl FnOnce(&Device) -> landbridge_dmabuf::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        // Held all the while: nobody publishes memory that is about to go.
        let buffers = self.buffers();
        if matches!(effect, Effect::Revokes | Effect::Blinks) {
            for buffer in &*buffers {
                // Whoever is left, the kernel cuts off.
                if let Err(error) = buffer.revoke(limit) {
                    tracing::warn!(%error, buffer = %buffer.id(), "still held before a device's reset");
                }
            }
        }
        let device = Arc::clone(&self.device);
        self.worker.run(limit, move || call(&device))?;
        if matches!(effect, Effect::Restores | Effect::Blinks) && self.device.memory_is_on()? {
            for buffer in &*buffers {
                buffer.restore(limit)?;
            }
        }
        Ok(())
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Buffer>> {
        // Changed by single pushes and removes.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
