//! Blobs: memory without a format (`DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB`).

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::call;
use super::card::Card;
use super::wire::{CREATE_BLOB, Close, ContextParam, FD_TO_HANDLE, MapObject, ResourceInfo, Wait};
use crate::sys::drm::{self, Prime};
use crate::sys::ioctl::ioctl;
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

/// The rings of a program's context.
pub const RINGS: u64 = 2;

/// What `GETPARAM` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Param {
    /// The device offers VIRGL.
    ThreeD = 1,
    /// It has blobs.
    Blob = 3,
    /// It has a window.
    HostVisible = 4,
    /// It assigns UUIDs.
    CrossDevice = 5,
    /// Contexts can be initialised.
    ContextInit = 6,
}

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
        call::param(&self.file, param as u64)
    }

    /// Makes this file's context, with [`RINGS`] rings and no capability set.
    ///
    /// # Errors
    /// What the kernel says; a second time it is EEXIST.
    pub fn context(&self) -> Result<(), Errno> {
        // VIRTGPU_CONTEXT_PARAM_NUM_RINGS
        let rings = ContextParam {
            param: 2,
            value: RINGS,
        };
        call::context_init(&self.file, &[rings])
    }

    /// Makes a blob. A device that refuses it is heard of only when the blob is
    /// used.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn blob(&self, blob: Blob) -> Result<Made, Errno> {
        let mut create = drm::Blob {
            blob_mem: blob.memory,
            blob_flags: blob.flags,
            size: blob.size,
            blob_id: blob.object,
            ..drm::Blob::default()
        };
        ioctl(&self.file, CREATE_BLOB, &mut create)?;
        Ok(Made {
            handle: create.bo_handle,
            resource: create.res_handle,
            size: blob.size,
        })
    }

    /// Maps an object, whole.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn map(&self, made: Made) -> Result<Map, Errno> {
        let mut map = MapObject {
            handle: made.handle,
            ..MapObject::default()
        };
        ioctl(&self.file, MapObject::OP, &mut map)?;
        let offset = usize::try_from(map.offset).unwrap_or(usize::MAX);
        let size = usize::try_from(made.size).unwrap_or(usize::MAX);
        Map::new(&self.file, offset, size, How::SHARED)
    }

    /// The resource behind a handle and its blob memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn info(&self, handle: u32) -> Result<(u32, u32), Errno> {
        let mut info = ResourceInfo {
            bo_handle: handle,
            ..ResourceInfo::default()
        };
        ioctl(&self.file, ResourceInfo::OP, &mut info)?;
        Ok((info.res_handle, info.blob_mem))
    }

    /// Waits until the device has done all that concerns an object.
    ///
    /// # Errors
    /// What the kernel says; EBUSY after 15 s.
    pub fn wait(&self, handle: u32) -> Result<(), Errno> {
        ioctl(&self.file, Wait::OP, &mut Wait { handle, flags: 0 })?;
        Ok(())
    }

    /// Exports an object as a dma-buf that may be written.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn export(&self, handle: u32) -> Result<OwnedFd, Errno> {
        call::export(&self.file, handle)
    }

    /// Imports a dma-buf.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn import(&self, fd: impl AsFd) -> Result<u32, Errno> {
        let mut prime = Prime {
            fd: fd.as_fd().as_raw_fd(),
            ..Prime::default()
        };
        ioctl(&self.file, FD_TO_HANDLE, &mut prime)?;
        Ok(prime.handle)
    }

    /// Gives an object back.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn close(&self, handle: u32) -> Result<(), Errno> {
        ioctl(&self.file, Close::OP, &mut Close { handle, pad: 0 })?;
        Ok(())
    }
}
