//! V4L2's ioctls for capture buffers: `include/uapi/linux/videodev2.h`.
#![expect(
    unsafe_code,
    reason = "ioctl(2) takes a pointer that the kernel follows"
)]

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::ioctl::{Opcode, opcode};

use crate::error::Result;
use crate::sys::ioctl::{adopt, call_with};

const QUERYCAP: Opcode = opcode::read::<Capability>(b'V', 0);
const REQBUFS: Opcode = opcode::read_write::<RequestBuffers>(b'V', 8);
const QUERYBUF: Opcode = opcode::read_write::<Buffer>(b'V', 9);
const EXPBUF: Opcode = opcode::read_write::<ExportBuffer>(b'V', 16);

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`.
const MMAP: u32 = 1;
/// `V4L2_CAP_VIDEO_CAPTURE`.
pub(crate) const CAP_CAPTURE: u32 = 1;
/// `V4L2_CAP_STREAMING`.
pub(crate) const CAP_STREAMING: u32 = 0x0400_0000;
/// `V4L2_CAP_DEVICE_CAPS`.
const CAP_DEVICE_CAPS: u32 = 0x8000_0000;

/// `struct v4l2_capability`.
#[repr(C)]
struct Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_requestbuffers`.
#[derive(Default)]
#[repr(C)]
struct RequestBuffers {
    count: u32,
    kind: u32,
    memory: u32,
    capabilities: u32,
    flags_and_reserved: u32,
}

/// `struct v4l2_buffer`, with the union of where its memory is as an integer.
#[derive(Default)]
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
    place: u64,
    length: u32,
    reserved2: u32,
    request_fd: i32,
    pad2: u32,
}

/// `struct v4l2_exportbuffer`.
#[derive(Default)]
#[repr(C)]
struct ExportBuffer {
    kind: u32,
    index: u32,
    plane: u32,
    flags: u32,
    fd: i32,
    reserved: [u32; 11],
}

/// The driver's name, and what this node of it can do.
pub(crate) fn capability(fd: BorrowedFd<'_>) -> Result<(String, u32)> {
    let mut said = Capability {
        driver: [0; 16],
        card: [0; 32],
        bus_info: [0; 32],
        version: 0,
        capabilities: 0,
        device_caps: 0,
        reserved: [0; 3],
    };
    // SAFETY: the ioctl writes a `v4l2_capability`, which is flat, and any bytes
    // are a valid one.
    unsafe { call_with(fd, "VIDIOC_QUERYCAP", QUERYCAP, &mut said) }?;
    let end = said.driver.iter().position(|byte| *byte == 0);
    let name = &said.driver[..end.unwrap_or(said.driver.len())];
    let can = match said.capabilities & CAP_DEVICE_CAPS {
        0 => said.capabilities,
        _ => said.device_caps,
    };
    Ok((String::from_utf8_lossy(name).into_owned(), can))
}

/// Asks for `count` capture buffers of the device's own memory; 0 frees them.
pub(crate) fn request(fd: BorrowedFd<'_>, count: u32) -> Result<u32> {
    let mut request = RequestBuffers {
        count,
        kind: CAPTURE,
        memory: MMAP,
        ..RequestBuffers::default()
    };
    // SAFETY: the ioctl reads and writes a `v4l2_requestbuffers`, which is flat.
    unsafe { call_with(fd, "VIDIOC_REQBUFS", REQBUFS, &mut request) }?;
    Ok(request.count)
}

/// Where a capture buffer is in the device's own address space, and its length
/// in bytes.
pub(crate) fn place(fd: BorrowedFd<'_>, index: u32) -> Result<(u32, u32)> {
    let mut buffer = Buffer {
        index,
        kind: CAPTURE,
        ..Buffer::default()
    };
    // SAFETY: the ioctl reads and writes a `v4l2_buffer`. `place` is an address
    // that the kernel follows for multi-planar types only, and this is not one.
    unsafe { call_with(fd, "VIDIOC_QUERYBUF", QUERYBUF, &mut buffer) }?;
    // The offset is the first half of the union.
    let [a, b, c, d, ..] = buffer.place.to_ne_bytes();
    Ok((u32::from_ne_bytes([a, b, c, d]), buffer.length))
}

/// Exports a capture buffer; `flags` are `O_CLOEXEC` and an access mode.
pub(crate) fn export(fd: BorrowedFd<'_>, index: u32, flags: u32) -> Result<OwnedFd> {
    let mut export = ExportBuffer {
        kind: CAPTURE,
        index,
        flags,
        fd: -1,
        ..ExportBuffer::default()
    };
    // SAFETY: the ioctl reads and writes a `v4l2_exportbuffer`, which is flat.
    unsafe { call_with(fd, "VIDIOC_EXPBUF", EXPBUF, &mut export) }?;
    // SAFETY: the ioctl succeeded, and `fd` is the descriptor that it made.
    Ok(unsafe { adopt(export.fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_headers() {
        assert_eq!(QUERYCAP, 0x8068_5600);
        assert_eq!(REQBUFS, 0xc014_5608);
        assert_eq!(QUERYBUF, 0xc058_5609);
        assert_eq!(EXPBUF, 0xc040_5610);
    }
}
