//! Blobs: memory without a format (`DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB`).

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use landbridge_dmabuf::gem::virtgpu::{self, BlobMemory, BlobRequest};
use landbridge_dmabuf::{DmaBuf, Error};
use rustix::io::Errno;

pub use landbridge_dmabuf::gem::virtgpu::Param;

use super::card::Card;
use crate::sys::memory::{How, Map};

/// Memory of the guest.
pub const GUEST: u32 = 1;
/// Memory of the host.
pub const HOST3D: u32 = 2;
/// Memory of the host, with the guest's as its shadow.
pub const HOST3D_GUEST: u32 = 3;
/// The guest may map it.
pub const MAPPABLE: u32 = 1;
/// Other processes of the guest may have it.
pub const SHAREABLE: u32 = 2;
/// Other devices may have it, under its UUID.
pub const CROSS_DEVICE: u32 = 4;

/// Longer than a device takes for anything.
const PATIENCE: Duration = Duration::from_secs(15);

/// The rings of a program's context.
pub const RINGS: u64 = 2;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// GUEST 1, HOST3D 2, HOST3D_GUEST 3.
    pub memory: u32,
    /// MAPPABLE, SHAREABLE, CROSS_DEVICE.
    pub flags: u32,
    /// Bytes.
    pub size: u64,
    /// Which object of the host; 0 is new memory.
    pub object: u64,
}

impl Blob {
    /// Host memory that the guest maps.
    #[must_use]
    pub fn of_the_host(size: u64) -> Self {
        Self {
            memory: HOST3D,
            flags: MAPPABLE,
            size,
            object: 0,
        }
    }
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The GEM handle.
    pub handle: u32,
    /// The resource, as the device knows it.
    pub resource: u32,
    /// Bytes.
    pub size: u64,
}

impl Card {
    /// What the driver answers to `GETPARAM`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn param(&self, param: Param) -> Result<i32, Errno> {
        virtgpu::param(&self.device, param).map_err(errno)
    }

    /// Makes this file's context, with [`RINGS`] rings and no capability set.
    ///
    /// # Errors
    /// What the kernel says; a second time it is EEXIST.
    pub fn context(&self) -> Result<(), Errno> {
        virtgpu::init_context(&self.device, 0, RINGS).map_err(errno)
    }

    /// Makes a blob. A device that refuses it is heard of only when the blob is
    /// used.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn blob(&self, blob: Blob) -> Result<Made, Errno> {
        let request = BlobRequest {
            memory: match blob.memory {
                GUEST => BlobMemory::Guest,
                HOST3D => BlobMemory::Host3d,
                _ => BlobMemory::Host3dGuest,
            },
            size: blob.size,
            mappable: blob.flags & MAPPABLE != 0,
            shareable: blob.flags & SHAREABLE != 0,
            cross_device: blob.flags & CROSS_DEVICE != 0,
            id: blob.object,
        };
        let object = virtgpu::create_blob(&self.device, &request).map_err(errno)?;
        let info = virtgpu::info(&object).map_err(errno)?;
        Ok(Made {
            handle: self.keep(object),
            resource: info.resource,
            size: blob.size,
        })
    }

    /// Maps an object, whole.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn map(&self, made: Made) -> Result<Map, Errno> {
        let offset = self.object(made.handle)?.mmap_offset().map_err(errno)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let size = usize::try_from(made.size).unwrap_or(usize::MAX);
        Map::new(self, offset, size, How::SHARED)
    }

    /// The resource behind a handle and its blob memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn info(&self, handle: u32) -> Result<(u32, u32), Errno> {
        let info = virtgpu::info(&self.object(handle)?).map_err(errno)?;
        Ok((info.resource, info.blob_memory))
    }

    /// Waits until the device has done all that concerns an object.
    ///
    /// # Errors
    /// What the kernel says; ETIMEDOUT after 15 s.
    pub fn wait(&self, handle: u32) -> Result<(), Errno> {
        virtgpu::wait(&self.object(handle)?, PATIENCE).map_err(errno)
    }

    /// Exports an object as a dma-buf that may be written.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn export(&self, handle: u32) -> Result<OwnedFd, Errno> {
        let exported = self.object(handle)?.export();
        exported.map(OwnedFd::from).map_err(errno)
    }

    /// Imports a dma-buf. One that is here already is the same handle once
    /// more, to be closed once more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn import(&self, fd: impl AsFd) -> Result<u32, Errno> {
        let fd = rustix::io::dup(fd)?;
        let buffer = DmaBuf::try_from(fd).map_err(errno)?;
        Ok(self.keep(self.device.import(&buffer).map_err(errno)?))
    }
}

/// The kernel's word for an error.
pub(super) fn errno(error: Error) -> Errno {
    match error {
        Error::Timeout | Error::Fenced { .. } => Errno::TIMEDOUT,
        error => Errno::from_raw_os_error(error.errno().unwrap_or(libc::EIO)),
    }
}
