//! The work of devices that use a buffer past this process: the kernel's own
//! fences on a dma-buf, as fences of ours.

use landbridge_dmabuf::dma_buf::{FenceUse, Readiness};
use landbridge_dmabuf::{DmaBufOps, Storage};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::fence::Fence;
use crate::reservation::Usage;

impl Buffer {
    /// The pending fences of `up_to` and of the classes before it: those in the
    /// buffer's reservation, and where the buffer is a dma-buf, one that stands
    /// for all that the kernel has on it. A snapshot.
    ///
    /// # Errors
    /// When the system has no descriptor or no thread left to wait with.
    pub fn pending(&self, up_to: Usage) -> Result<Vec<Fence>, Error> {
        let mut fences = self.reservation().pending(up_to);
        let storage = self.exporter().storage();
        if let Some(buffer) = storage.as_ref().and_then(Storage::dma_buf) {
            fences.extend(self.of_devices(buffer, up_to)?);
        }
        Ok(fences)
    }

    fn of_devices(&self, buffer: &DmaBufOps, up_to: Usage) -> Result<Option<Fence>, Error> {
        // The kernel tells no more classes apart than these two.
        let (usage, readiness) = match up_to {
            Usage::Kernel | Usage::Write => (FenceUse::Read, Readiness::Read),
            Usage::Read | Usage::Bookkeep => (FenceUse::Write, Readiness::Write),
        };
        if buffer.is_ready(readiness)? {
            return Ok(None);
        }
        let file = buffer.export_sync_file(usage)?;
        let label = format!("devices that use buffer {}", self.id());
        Ok(Some(Fence::of_sync_file(label, file).map_err(unwatched)?))
    }
}

/// The error of whoever can't wait for the kernel.
pub(crate) fn unwatched(source: std::io::Error) -> Error {
    Error::Memory(landbridge_dmabuf::Error::Sys {
        call: "watch a sync_file",
        source,
    })
}
