//! The one ioctl that is sent to a dma-buf outside the child: the info query.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// `struct dma_buf_info` of the 2022 proposal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DmaBufInfo {
    pub(crate) param: u32,
    pub(crate) pad: u32,
    pub(crate) value: u64,
}

/// Sends `request` with `info`, which the kernel may overwrite.
///
/// The caller chooses the request number at run time; `request` must carry the size
/// of [`DmaBufInfo`], which is checked, so that no handler writes past it.
pub(crate) fn dma_buf_info(
    fd: impl AsFd,
    request: u32,
    info: &mut DmaBufInfo,
) -> Result<(), Errno> {
    if (request >> 16) & 0x3fff != size_of::<DmaBufInfo>() as u32 {
        return Err(Errno::INVAL);
    }
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `fd` is open for the call. The request's size field is that of
    // `DmaBufInfo`, and a handler copies no more than that to or from `info`, which is
    // borrowed mutably and valid for any bytes.
    let status = unsafe { libc::ioctl(fd, libc::Ioctl::from(request), std::ptr::from_mut(info)) };
    if status < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}
