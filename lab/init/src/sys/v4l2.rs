//! V4L2 capture into buffers of others (include/uapi/linux/videodev2.h).
#![expect(unsafe_code, reason = "declares which structures ioctls take")]

use std::fs::File;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::ioctl::{Argument, ioctl};

const REQBUFS: u32 = 0xc014_5608;
const G_FMT: u32 = 0xc0d0_5604;
const QBUF: u32 = 0xc058_560f;
const DQBUF: u32 = 0xc058_5611;
const STREAMON: u32 = 0x4004_5612;
const STREAMOFF: u32 = 0x4004_5613;

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_DMABUF`.
const DMABUF: u32 = 4;
/// Where `sizeimage` is in `struct v4l2_pix_format`.
const SIZE_IMAGE: usize = 5;

/// `struct v4l2_format`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Format {
    kind: u32,
    pad: u32,
    words: [u32; 50],
}

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
arguments!(RequestBuffers, Buffer, Format);

/// Asks for `count` buffers that others lend; 0 gives them back.
///
/// # Errors
/// What the driver says.
pub fn request_imports(device: &File, count: u32) -> Result<u32, Errno> {
    let mut request = RequestBuffers {
        count,
        kind: CAPTURE,
        memory: DMABUF,
        ..RequestBuffers::default()
    };
    ioctl(device, REQBUFS, &mut request)?;
    Ok(request.count)
}

/// The bytes of a picture in the format that is set.
///
/// # Errors
/// What the driver says.
pub fn picture_size(device: &File) -> Result<u32, Errno> {
    let mut format = Format {
        kind: CAPTURE,
        pad: 0,
        words: [0; 50],
    };
    ioctl(device, G_FMT, &mut format)?;
    Ok(format.words[SIZE_IMAGE])
}

/// Gives the device a dma-buf to fill, as its buffer `index`.
///
/// # Errors
/// What the driver says.
pub fn queue_import(device: &File, index: u32, buffer: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut queued = Buffer {
        index,
        kind: CAPTURE,
        memory: DMABUF,
        // The descriptor is the first half of the union.
        offset: u64::from(buffer.as_raw_fd().cast_unsigned()),
        ..Buffer::default()
    };
    ioctl(device, QBUF, &mut queued)?;
    Ok(())
}

/// Starts filling what is queued.
///
/// # Errors
/// What the driver says.
pub fn stream_on(device: &File) -> Result<(), Errno> {
    ioctl(device, STREAMON, &mut CAPTURE.clone())?;
    Ok(())
}

/// Stops, and gives back what is queued.
///
/// # Errors
/// What the driver says.
pub fn stream_off(device: &File) -> Result<(), Errno> {
    ioctl(device, STREAMOFF, &mut CAPTURE.clone())?;
    Ok(())
}

/// Whether a buffer that was imported is filled within `limit`.
///
/// # Errors
/// What the driver says.
pub fn wait_for_picture(device: &File, limit: Duration) -> Result<bool, Errno> {
    let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
    let mut polled = [PollFd::new(device, PollFlags::IN)];
    if poll(&mut polled, Some(&limit))? == 0 {
        return Ok(false);
    }
    let mut filled = Buffer {
        kind: CAPTURE,
        memory: DMABUF,
        ..Buffer::default()
    };
    ioctl(device, DQBUF, &mut filled)?;
    Ok(true)
}
