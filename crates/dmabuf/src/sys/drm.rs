//! DRM's generic ioctls: `include/uapi/drm/drm.h` and `drm_mode.h`, through the
//! `drm` crate's bindings where those fit.
//!
//! Only its ioctls are used. Its mappings are slices of memory that others
//! write, and its import of a sync_file into a syncobj names no syncobj, so the
//! kernel answers ENOENT; that one is here.
#![expect(
    unsafe_code,
    reason = "owns descriptors that the kernel returns as numbers"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use drm_ffi::drm_syncobj_handle;
use rustix::ioctl::{Opcode, opcode};

use crate::error::{Error, Result};
use crate::sys::ioctl::call_with;

/// The character devices of `drivers/gpu/drm`: `DRM_MAJOR`.
pub(crate) const MAJOR: u32 = 226;
/// `DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE`.
const IMPORT_SYNC_FILE: u32 = 1;
const SYNCOBJ_FD_TO_HANDLE: Opcode = opcode::read_write::<drm_syncobj_handle>(b'd', 0xc2);

/// Repeats a call that a signal or the driver interrupts, as libdrm does.
fn retry<T>(name: &'static str, mut call: impl FnMut() -> io::Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
            other => return other.map_err(|e| Error::sys(name, e)),
        }
    }
}

/// The driver's name, from `DRM_IOCTL_VERSION`.
pub(crate) fn driver_name(fd: BorrowedFd<'_>) -> Result<String> {
    let name = retry("DRM_IOCTL_VERSION", || {
        let mut name = Vec::new();
        drm_ffi::get_version(fd, Some(&mut name), None, None)?;
        Ok(name)
    })?;
    let bytes = name.into_iter().map(|c| c.to_ne_bytes()[0]);
    let bytes: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A new dumb buffer, as the driver made it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewDumb {
    pub(crate) handle: u32,
    /// Bytes from one row to the next.
    pub(crate) pitch: u32,
    /// Bytes.
    pub(crate) size: u64,
}

/// `DRM_IOCTL_MODE_CREATE_DUMB`.
pub(crate) fn create_dumb(fd: BorrowedFd<'_>, size: (u32, u32), bpp: u32) -> Result<NewDumb> {
    let dumb = retry("DRM_IOCTL_MODE_CREATE_DUMB", || {
        drm_ffi::mode::dumbbuffer::create(fd, size.0, size.1, bpp, 0)
    })?;
    Ok(NewDumb {
        handle: dumb.handle,
        pitch: dumb.pitch,
        size: dumb.size,
    })
}

/// `DRM_IOCTL_MODE_MAP_DUMB`: where to map an object of the device's.
pub(crate) fn dumb_offset(fd: BorrowedFd<'_>, handle: u32) -> Result<u64> {
    let map = retry("DRM_IOCTL_MODE_MAP_DUMB", || {
        drm_ffi::mode::dumbbuffer::map(fd, handle, 0, 0)
    })?;
    Ok(map.offset)
}

/// `DRM_IOCTL_GEM_CLOSE`.
pub(crate) fn close(fd: BorrowedFd<'_>, handle: u32) -> Result<()> {
    retry("DRM_IOCTL_GEM_CLOSE", || drm_ffi::gem::close(fd, handle)).map(drop)
}

/// `DRM_IOCTL_PRIME_HANDLE_TO_FD`, to read and to write.
pub(crate) fn export(fd: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd> {
    let flags = drm_ffi::DRM_CLOEXEC | drm_ffi::DRM_RDWR;
    let prime = retry("DRM_IOCTL_PRIME_HANDLE_TO_FD", || {
        drm_ffi::gem::handle_to_fd(fd, handle, flags)
    })?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else
    // knows.
    Ok(unsafe { OwnedFd::from_raw_fd(prime.fd) })
}

/// `DRM_IOCTL_PRIME_FD_TO_HANDLE`.
pub(crate) fn import(fd: BorrowedFd<'_>, buffer: BorrowedFd<'_>) -> Result<u32> {
    let prime = retry("DRM_IOCTL_PRIME_FD_TO_HANDLE", || {
        drm_ffi::gem::fd_to_handle(fd, buffer)
    })?;
    Ok(prime.handle)
}

/// `DRM_IOCTL_SYNCOBJ_CREATE`.
pub(crate) fn syncobj_create(fd: BorrowedFd<'_>, signaled: bool) -> Result<u32> {
    let made = retry("DRM_IOCTL_SYNCOBJ_CREATE", || {
        drm_ffi::syncobj::create(fd, signaled)
    })?;
    Ok(made.handle)
}

/// `DRM_IOCTL_SYNCOBJ_DESTROY`.
pub(crate) fn syncobj_destroy(fd: BorrowedFd<'_>, handle: u32) -> Result<()> {
    retry("DRM_IOCTL_SYNCOBJ_DESTROY", || {
        drm_ffi::syncobj::destroy(fd, handle)
    })
    .map(drop)
}

/// `DRM_IOCTL_SYNCOBJ_SIGNAL`.
pub(crate) fn syncobj_signal(fd: BorrowedFd<'_>, handle: u32) -> Result<()> {
    retry("DRM_IOCTL_SYNCOBJ_SIGNAL", || {
        drm_ffi::syncobj::signal(fd, &[handle])
    })
    .map(drop)
}

/// `DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD`, as a sync_file.
pub(crate) fn syncobj_export(fd: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd> {
    let exported = retry("DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD", || {
        drm_ffi::syncobj::handle_to_fd(fd, handle, true)
    })?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else
    // knows.
    Ok(unsafe { OwnedFd::from_raw_fd(exported.fd) })
}

/// `DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE`, of a sync_file into a syncobj.
pub(crate) fn syncobj_import(
    fd: BorrowedFd<'_>,
    handle: u32,
    sync_file: BorrowedFd<'_>,
) -> Result<()> {
    let mut argument = drm_syncobj_handle {
        handle,
        flags: IMPORT_SYNC_FILE,
        fd: sync_file.as_raw_fd(),
        ..drm_syncobj_handle::default()
    };
    let name = "DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE";
    // SAFETY: the ioctl reads and writes a `drm_syncobj_handle`, which is flat.
    unsafe { call_with(fd, name, SYNCOBJ_FD_TO_HANDLE, &mut argument) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut answers = [libc::EINTR, libc::EAGAIN, 0].into_iter();
        let got = retry("test", || match answers.next() {
            Some(0) => Ok(7),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => unreachable!("called after it succeeded"),
        });
        assert_eq!(got.unwrap(), 7);
        let refused = retry("test", || {
            Err::<(), _>(io::Error::from_raw_os_error(libc::ENOENT))
        });
        assert_eq!(refused.unwrap_err().errno(), Some(libc::ENOENT));
    }
}
