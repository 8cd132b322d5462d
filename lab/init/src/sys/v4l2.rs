//! V4L2 capture buffers and their export (include/uapi/linux/videodev2.h).
#![expect(unsafe_code, reason = "declares which structures ioctls take")]

use std::fs::File;
use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::ioctl::{Argument, ioctl};

const REQBUFS: u32 = 0xc014_5608;
const QUERYBUF: u32 = 0xc058_5609;
const EXPBUF: u32 = 0xc040_5610;

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`.
const MMAP: u32 = 1;

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct RequestBuffers {
    count: u32,
    kind: u32,
    memory: u32,
    capabilities: u32,
    flags_and_reserved: u32,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct Buffer {
    index: u32,
    kind: u32,
    bytes_used: u32,
    flags: u32,
    field: u32,
    pad: u32,
    timestamp: [u64; 2],
    timecode: [u32; 4],
    sequence: u32,
    memory: u32,
    offset: u64,
    length: u32,
    reserved2: u32,
    request_fd: i32,
    pad2: u32,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct ExportBuffer {
    kind: u32,
    index: u32,
    plane: u32,
    flags: u32,
    fd: i32,
    reserved: [u32; 11],
}

// SAFETY (all of these): integers only, repr(C), without gaps, and no field is
// an address: the planes' address of a buffer is for the multi-planar types,
// which are never asked for.
macro_rules! arguments {
    ($($structure:ty),*) => {
        $(
            // SAFETY: see above the macro.
            unsafe impl Argument for $structure {}
        )*
    };
}
arguments!(RequestBuffers, Buffer, ExportBuffer);

/// Asks for `count` buffers of the device's own memory; 0 frees them.
///
/// # Errors
/// What the driver says.
pub fn request(device: &File, count: u32) -> Result<u32, Errno> {
    let mut request = RequestBuffers {
        count,
        kind: CAPTURE,
        memory: MMAP,
        ..RequestBuffers::default()
    };
    ioctl(device, REQBUFS, &mut request)?;
    Ok(request.count)
}

/// The length in bytes of a buffer.
///
/// # Errors
/// What the driver says.
pub fn length(device: &File, index: u32) -> Result<u32, Errno> {
    let mut buffer = Buffer {
        index,
        kind: CAPTURE,
        ..Buffer::default()
    };
    ioctl(device, QUERYBUF, &mut buffer)?;
    Ok(buffer.length)
}

/// Exports a buffer with any flags.
///
/// # Errors
/// What the driver says.
pub fn export(device: &File, index: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let mut export = ExportBuffer {
        kind: CAPTURE,
        index,
        flags,
        fd: -1,
        ..ExportBuffer::default()
    };
    ioctl(device, EXPBUF, &mut export)?;
    // SAFETY: the ioctl succeeded, so this is a new descriptor that nobody else
    // knows.
    Ok(unsafe { OwnedFd::from_raw_fd(export.fd) })
}
