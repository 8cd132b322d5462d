//! Buffers of cameras and decoders: V4L2 capture queues, exported as dma-bufs.
//!
//! `include/uapi/linux/videodev2.h`,
//! `Documentation/userspace-api/media/v4l/vidioc-expbuf.rst`. Single-planar
//! capture devices only.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::dma_buf::DmaBuf;
use crate::error::{Error, Result};
use crate::mapping::Access;
use crate::sys;
use crate::sys::v4l2::{CAP_CAPTURE, CAP_STREAMING};

/// Where the nodes are.
const DIRECTORY: &str = "/dev";

/// An open capture device. Its queue belongs to whoever asks for buffers first,
/// so one open device serves them all; dropping it frees what nobody has
/// exported.
#[derive(Debug)]
pub struct Capture {
    fd: OwnedFd,
    driver: String,
}

impl Capture {
    /// The video nodes of this machine, by number; none if it has none.
    ///
    /// # Errors
    /// [`Error::Sys`] if the directory can't be read.
    pub fn nodes() -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(DIRECTORY).map_err(|e| Error::sys("opendir", e))?;
        let mut nodes = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e: io::Error| Error::sys("readdir", e))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("video"));
            if let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) {
                nodes.push((number, entry.path()));
            }
        }
        nodes.sort();
        Ok(nodes.into_iter().map(|(_, path)| path).collect())
    }

    /// Opens a node.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if there is none, [`Error::NotACapture`] if it
    /// doesn't capture into buffers of one plane, [`Error::Sys`] if it may not
    /// be opened or isn't V4L2.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fd = match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            // NXIO and NODEV: a node without its driver.
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => {
                return Err(Error::NoDevice {
                    path: path.to_owned(),
                });
            }
            Err(e) => return Err(Error::sys("open", e)),
        };
        let (driver, can) = sys::v4l2::capability(fd.as_fd())?;
        if can & CAP_CAPTURE == 0 || can & CAP_STREAMING == 0 {
            return Err(Error::NotACapture { driver });
        }
        Ok(Self { fd, driver })
    }

    /// The driver's name, such as `vivid` or `uvcvideo`.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Asks for a queue of `count` buffers, whose size is the picture's that is
    /// set, and returns how many there are.
    ///
    /// # Errors
    /// [`Error::Sys`]: EBUSY while somebody else has the queue.
    pub fn allocate(&self, count: u32) -> Result<u32> {
        sys::v4l2::request(self.fd.as_fd(), count)
    }

    /// The bytes of a buffer that hold a picture. Its dma-buf is whole pages.
    ///
    /// # Errors
    /// [`Error::Sys`]: EINVAL if there is no such buffer.
    pub fn picture_bytes(&self, index: u32) -> Result<u32> {
        let (_, length) = sys::v4l2::place(self.fd.as_fd(), index)?;
        Ok(length)
    }

    /// Where the driver maps a buffer, as an offset of the device's descriptor.
    /// Such a mapping has no brackets: the kernel looks after the caches where
    /// a buffer is queued and taken back.
    ///
    /// # Errors
    /// [`Error::Sys`]: EINVAL if there is no such buffer.
    pub fn mmap_offset(&self, index: u32) -> Result<u64> {
        let (offset, _) = sys::v4l2::place(self.fd.as_fd(), index)?;
        Ok(offset.into())
    }

    /// Exports a buffer.
    ///
    /// # Errors
    /// [`Error::Sys`]: EINVAL if there is no such buffer, or the driver exports
    /// none.
    pub fn export(&self, index: u32, access: Access) -> Result<DmaBuf> {
        let mode = match access {
            Access::ReadOnly => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let flags = (OFlags::CLOEXEC | mode).bits();
        let fd = sys::v4l2::export(self.fd.as_fd(), index, flags)?;
        // The device writes it too.
        Ok(DmaBuf::adopt(fd, false))
    }
}

/// For the device's other ioctls.
impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_devices_are_refused() {
        let error = Capture::open("/dev/null").unwrap_err();
        assert!(matches!(error, Error::Sys { .. }), "{error}");
        let error = Capture::open("/dev/video-none").unwrap_err();
        assert!(matches!(error, Error::NoDevice { .. }), "{error}");
    }
}
