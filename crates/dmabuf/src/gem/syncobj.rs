//! Fences of a DRM device: `Documentation/gpu/drm-mm.rst`, "DRM Sync Objects".

use std::os::fd::AsFd;

use crate::error::Result;
use crate::gem::Device;
use crate::sync_file::SyncFile;
use crate::sys;

/// A syncobj: a box for one fence, which a driver's submission waits for or
/// fills. Destroyed when dropped.
#[derive(Debug)]
pub struct Syncobj {
    device: Device,
    handle: u32,
}

impl Syncobj {
    /// An empty box, or one whose fence has signalled.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys): EOPNOTSUPP if the driver has none
    /// (vgem).
    pub fn create(device: &Device, signaled: bool) -> Result<Self> {
        let handle = sys::drm::syncobj_create(device.as_fd(), signaled)?;
        Ok(Self {
            device: device.clone(),
            handle,
        })
    }

    /// A box with the fence of `file`.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys).
    pub fn from_sync_file(device: &Device, file: &SyncFile) -> Result<Self> {
        let this = Self::create(device, false)?;
        this.set(file)?;
        Ok(this)
    }

    /// The handle, for ioctls that name it.
    #[must_use]
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Puts the fence of `file` in the place of what is there.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys).
    pub fn set(&self, file: &SyncFile) -> Result<()> {
        sys::drm::syncobj_import(self.device.as_fd(), self.handle, file.as_fd())
    }

    /// Puts a fence that has signalled in the place of what is there.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys).
    pub fn signal(&self) -> Result<()> {
        sys::drm::syncobj_signal(self.device.as_fd(), self.handle)
    }

    /// Its fence as it is now.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys); EINVAL if it is empty.
    pub fn to_sync_file(&self) -> Result<SyncFile> {
        let fd = sys::drm::syncobj_export(self.device.as_fd(), self.handle)?;
        Ok(SyncFile::adopt(fd))
    }
}

impl Drop for Syncobj {
    fn drop(&mut self) {
        // Only a wrong handle is refused, and this one is ours.
        let gone = sys::drm::syncobj_destroy(self.device.as_fd(), self.handle);
        debug_assert!(gone.is_ok(), "SYNCOBJ_DESTROY: {gone:?}");
    }
}
