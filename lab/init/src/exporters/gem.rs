//! DRM devices by way of our own crate: what a program of ours would have.

use landbridge_dmabuf::gem::{Device, Object, virtgpu};

use super::{Access, Exported, Exporter, Refused};

/// Makes an object of at least so many bytes.
type Make = fn(&Device, u64) -> landbridge_dmabuf::Result<Object>;

/// Objects of one open device.
#[derive(Debug)]
pub struct Gem {
    name: &'static str,
    device: Device,
    make: Make,
}

impl Gem {
    /// Dumb buffers of `device`; `name` is the column.
    #[must_use]
    pub fn dumb(name: &'static str, device: Device) -> Self {
        // Rows of 1024 pixels of 32 bits are a page each.
        let make = |device: &Device, size: u64| {
            let rows = u32::try_from(size.div_ceil(4096)).unwrap_or(u32::MAX);
            Ok(device.create_dumb(1024, rows, 32)?.object)
        };
        Self { name, device, make }
    }

    /// Blobs of the guest's memory, of a virtio-gpu.
    #[must_use]
    pub fn blobs(name: &'static str, device: Device) -> Self {
        let make = |device: &Device, size| {
            let request = virtgpu::BlobRequest {
                cross_device: false,
                ..virtgpu::BlobRequest::shared(virtgpu::BlobMemory::Guest, size)
            };
            virtgpu::create_blob(device, &request)
        };
        Self { name, device, make }
    }
}

impl Exporter for Gem {
    fn name(&self) -> &'static str {
        self.name
    }

    /// For reading and writing: our crate exports no other way.
    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        if access == Access::ReadOnly {
            return Err(Refused::NotOffered);
        }
        let object = (self.make)(&self.device, size)?;
        let buffer = object.export()?;
        let offset = object.mmap_offset()?;
        let own = self.device.clone();
        Ok(Exported::new(buffer.into(), object.size())
            .seen_by_owner(own, offset)
            .keeping(object))
    }
}

impl From<landbridge_dmabuf::Error> for Refused {
    fn from(error: landbridge_dmabuf::Error) -> Self {
        let errno = error.errno().unwrap_or(libc::EIO);
        Self::Kernel(rustix::io::Errno::from_raw_os_error(errno))
    }
}
