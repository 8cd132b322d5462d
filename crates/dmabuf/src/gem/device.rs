//! An open DRM device.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::dma_buf::DmaBuf;
use crate::error::{Error, Result};
use crate::gem::handles::Handles;
use crate::gem::object::{Known, MapOffset, Object, Origin};
use crate::sys;

/// Where the nodes are.
const DIRECTORY: &str = "/dev/dri";

/// A device node of a DRM driver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its path, such as `/dev/dri/card0`.
    pub path: PathBuf,
    /// Whether it is a primary node (`card0`), which has dumb buffers and
    /// displays, rather than a render node (`renderD128`).
    pub primary: bool,
}

impl Node {
    /// This machine's nodes, primary ones first; none if it has no DRM.
    ///
    /// # Errors
    /// [`Error::Sys`] if the directory exists but can't be read.
    pub fn list() -> Result<Vec<Self>> {
        let entries = match fs::read_dir(DIRECTORY) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::sys("opendir", e)),
        };
        let mut nodes = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::sys("readdir", e))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let primary = name.starts_with("card");
            if primary || name.starts_with("renderD") {
                let path = entry.path();
                nodes.push(Self { path, primary });
            }
        }
        nodes.sort_by(|a, b| b.primary.cmp(&a.primary).then(a.path.cmp(&b.path)));
        Ok(nodes)
    }
}

/// An open DRM device, with its count of GEM handles. A clone is the same open
/// device.
///
/// The handles of an open device are this value's alone: whoever else has a
/// duplicate of the descriptor must neither import nor close on it.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    fd: OwnedFd,
    driver: String,
    handles: Handles<Known>,
}

/// A dumb buffer, with the layout that the driver chose.
#[derive(Debug)]
pub struct Dumb {
    /// The buffer.
    pub object: Object,
    /// Bytes from one row to the next.
    pub pitch: u32,
}

impl Device {
    /// Opens a node for reading and writing.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if there is none, [`Error::NotADrmDevice`] for
    /// anything else, [`Error::Sys`] if it may not be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Self::from_fd(fd),
            // NXIO and NODEV: a node without its driver.
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Err(Error::NoDevice {
                path: path.to_owned(),
            }),
            Err(e) => Err(Error::sys("open", e)),
        }
    }

    /// Takes a descriptor that somebody opened, such as a session manager. The
    /// open device must be the caller's alone to give: see [`Device`].
    ///
    /// # Errors
    /// [`Error::NotADrmDevice`], [`Error::Sys`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::sys("fstat", e))?;
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        if !is_device || rustix::fs::major(stat.st_rdev) != sys::drm::MAJOR {
            return Err(Error::NotADrmDevice);
        }
        let driver = sys::drm::driver_name(fd.as_fd())?;
        let handles = Handles::default();
        Ok(Self {
            inner: Arc::new(Inner {
                fd,
                driver,
                handles,
            }),
        })
    }

    /// Opens the first primary node whose driver is `driver`, such as `vgem`,
    /// `virtio_gpu` or `i915`.
    ///
    /// # Errors
    /// [`Error::NoDriver`] if no node has it. A node that can't be opened is
    /// passed over, unless none other has the driver.
    pub fn of_driver(driver: &str) -> Result<Self> {
        let mut trouble = None;
        for node in Node::list()?.into_iter().filter(|node| node.primary) {
            match Self::open(&node.path) {
                Ok(device) if device.driver() == driver => return Ok(device),
                Ok(_) => {}
                Err(e) => trouble = Some(e),
            }
        }
        Err(trouble.unwrap_or_else(|| Error::NoDriver {
            name: driver.to_owned(),
        }))
    }

    /// The driver's name.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.inner.driver
    }

    /// How many GEM handles are open.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.inner.handles.len()
    }

    /// Makes a dumb buffer: a linear picture for the CPU to draw, `width` by
    /// `height` pixels of `bits` each.
    ///
    /// # Errors
    /// [`Error::Sys`] as the driver answers: ENOSYS where it has none, EINVAL
    /// for bits that it doesn't like (virtio-gpu has 32 only), EACCES on a
    /// render node.
    pub fn create_dumb(&self, width: u32, height: u32, bits: u32) -> Result<Dumb> {
        let made = sys::drm::create_dumb(self.as_fd(), (width, height), bits)?;
        Ok(Dumb {
            object: self.own(made.handle, made.size, MapOffset::Dumb),
            pitch: made.pitch,
        })
    }

    /// Takes over the handle of an object that the caller has made by an ioctl
    /// of the driver's own, and that nobody else closes: `size` bytes, mapped at
    /// the offset that `offset` asks for.
    #[must_use]
    pub fn own(&self, handle: u32, size: u64, offset: MapOffset) -> Object {
        let known = Known::new(size, Origin::Native(offset));
        let known = self.inner.handles.created(handle, known);
        Object::new(self.clone(), handle, known)
    }

    /// Imports a dma-buf: `DRM_IOCTL_PRIME_FD_TO_HANDLE`. One that the device
    /// has already, its own or imported before, is the same object again.
    ///
    /// # Errors
    /// [`Error::Sys`] as the driver answers: ENODEV or EOPNOTSUPP where it
    /// can't have this buffer, ENOSYS where it imports none.
    pub fn import(&self, buffer: &DmaBuf) -> Result<Object> {
        let (handle, known) = self.inner.handles.import(
            || sys::drm::import(self.as_fd(), buffer.quietly()),
            || Ok(Known::new(buffer.size()?, Origin::Imported)),
            |handle| self.close(handle),
        )?;
        known.remember(buffer.identity()?);
        Ok(Object::new(self.clone(), handle, known))
    }

    pub(super) fn share(&self, handle: u32) {
        self.inner.handles.share(handle);
    }

    pub(super) fn shares(&self, handle: u32) -> u64 {
        self.inner.handles.shares(handle)
    }

    pub(super) fn release(&self, handle: u32) {
        self.inner.handles.release(handle, |last| self.close(last));
    }

    fn close(&self, handle: u32) {
        // Only a wrong handle is refused, and this one is counted.
        let closed = sys::drm::close(self.as_fd(), handle);
        debug_assert!(closed.is_ok(), "GEM_CLOSE {handle}: {closed:?}");
    }
}

/// For ioctls of the driver's own. Handles stay this device's to close.
impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("driver", &self.inner.driver)
            .field("open_handles", &self.open_handles())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_devices_are_refused() {
        let refused = Device::open("/dev/null");
        assert!(matches!(refused, Err(Error::NotADrmDevice)));
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let refused = Device::from_fd(OwnedFd::from(socket));
        assert!(matches!(refused, Err(Error::NotADrmDevice)));
        let missing = Device::open("/dev/dri/no-such-node");
        assert!(matches!(missing, Err(Error::NoDevice { .. })));
    }

    #[test]
    fn a_driver_that_is_not_there_is_named() {
        if let Err(Error::NoDriver { name }) = Device::of_driver("nobodys-driver") {
            assert_eq!(name, "nobodys-driver");
        }
    }
}
