//! A share in a GEM handle.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use crate::bracketed::Bracketed;
use crate::caching::{KnowsCaching, Wanted};
use crate::dma_buf::DmaBuf;
use crate::error::Result;
use crate::gem::Device;
use crate::identity::Identity;
use crate::mapping::{Access, Mapping, Piece};
use crate::sys;

/// Which ioctl tells where a device's own object is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapOffset {
    /// `DRM_IOCTL_MODE_MAP_DUMB`, which serves most drivers' objects.
    Dumb,
    /// `DRM_IOCTL_VIRTGPU_MAP`.
    Virtgpu,
}

/// Whose memory an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The device's own.
    Native(MapOffset),
    /// Another exporter's, imported by PRIME.
    Imported,
}

/// What all shares in one handle know of it.
#[derive(Debug)]
pub(super) struct Known {
    size: u64,
    origin: Origin,
    /// Set with the first export or import. The handle keeps the dma-buf alive
    /// from then on, so the identity holds as long as the handle.
    identity: OnceLock<Identity>,
}

impl Known {
    pub(super) fn new(size: u64, origin: Origin) -> Self {
        Self {
            size,
            origin,
            identity: OnceLock::new(),
        }
    }

    pub(super) fn remember(&self, identity: Identity) {
        let known = *self.identity.get_or_init(|| identity);
        debug_assert_eq!(known, identity, "one handle, two dma-bufs");
    }
}

/// A share in one GEM handle of a device. The handle is closed with the last
/// share; a clone is another.
pub struct Object {
    device: Device,
    handle: u32,
    known: Arc<Known>,
}

impl Object {
    /// One share that `device` has counted already.
    pub(super) fn new(device: Device, handle: u32, known: Arc<Known>) -> Self {
        Self {
            device,
            handle,
            known,
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The handle, for ioctls that name it; open as long as this value lives.
    #[must_use]
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.known.size
    }

    /// Whose memory it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.known.origin
    }

    /// Whether the memory is another exporter's.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        self.known.origin == Origin::Imported
    }

    /// Which buffer it is, known once it has been exported or imported: equal
    /// for the objects of all devices that have the same buffer.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.known.identity.get().copied()
    }

    /// How many shares the handle has, this one included.
    #[must_use]
    pub fn shares(&self) -> u64 {
        self.device.shares(self.handle)
    }

    /// Exports it as a dma-buf, for reading and writing:
    /// `DRM_IOCTL_PRIME_HANDLE_TO_FD`. An imported object is its exporter's
    /// dma-buf again, the very one that was imported.
    ///
    /// The descriptor allows what the first export of the object allowed, which
    /// may have been another process's.
    ///
    /// # Errors
    /// [`crate::Error::Sys`] as the driver answers.
    pub fn export(&self) -> Result<DmaBuf> {
        let fd = sys::drm::export(self.device.as_fd(), self.handle)?;
        let buffer = DmaBuf::adopt(fd, false);
        self.known.remember(buffer.identity()?);
        Ok(buffer)
    }

    /// Where the driver maps it, as an offset of the device's descriptor.
    ///
    /// For an imported object this is the importing driver's answer, whatever it
    /// is worth: some refuse, and some map memory whose caches nobody looks
    /// after. That is why such objects are mapped through their exporter.
    ///
    /// # Errors
    /// [`crate::Error::Sys`] as the driver answers.
    pub fn mmap_offset(&self) -> Result<u64> {
        let (fd, handle) = (self.device.as_fd(), self.handle);
        match self.known.origin {
            Origin::Native(MapOffset::Dumb) | Origin::Imported => sys::drm::dumb_offset(fd, handle),
            Origin::Native(MapOffset::Virtgpu) => sys::virtgpu::map_offset(fd, handle),
        }
    }

    /// Maps it for the CPU, whole.
    ///
    /// An imported object is mapped through its exporter: the dma-buf itself,
    /// whatever the importing driver would do. `wanted` is held against what
    /// `knows` says of the exporter's mapping; what nobody knows is taken as it
    /// comes, and [`Bracketed::caching`] says so. The device's own object is
    /// mapped at the driver's own offset, of whatever kind that is. The mapping
    /// outlives the object.
    ///
    /// # Errors
    /// [`crate::Error::NotMappable`] (ENODEV) for an aperture and for a fixed mapping
    /// of an imported object; [`crate::Error::OtherCaching`]; [`crate::Error::Sys`] as
    /// exporter and driver answer.
    pub fn map(
        &self,
        wanted: Wanted,
        access: Access,
        knows: &impl KnowsCaching,
    ) -> Result<Bracketed> {
        if self.is_imported() {
            // Before it is exported, so that a refusal costs nothing.
            wanted.check_forwards()?;
            return Bracketed::forward(self.export()?, wanted, access, knows);
        }
        // The device's descriptor never shrinks; an offset of another object's
        // would have to come from the driver.
        let offset = self.mmap_offset()?;
        let piece = Piece::new(&self.device, offset, self.size()).trusting_owner();
        let mapping = Mapping::of(&piece, access)?;
        // What can't be exported has no other device to be bracketed against.
        let buffer = self.export().ok().map(Arc::new);
        Bracketed::new(mapping, buffer)?.known_by(wanted, knows)
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        self.device.share(self.handle);
        Self::new(self.device.clone(), self.handle, Arc::clone(&self.known))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.device.release(self.handle);
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("driver", &self.device.driver())
            .field("handle", &self.handle)
            .field("size", &self.known.size)
            .field("origin", &self.known.origin)
            .finish_non_exhaustive()
    }
}
