//! virtio-gpu's ioctls: `include/uapi/drm/virtgpu_drm.h`.
#![expect(
    unsafe_code,
    reason = "ioctl(2) takes a pointer that the kernel follows"
)]

use std::os::fd::BorrowedFd;

use rustix::ioctl::{Opcode, opcode};

use crate::error::Result;
use crate::sys::ioctl::call_with;

/// `struct drm_virtgpu_map`.
#[repr(C)]
#[derive(Default)]
struct Map {
    offset: u64,
    handle: u32,
    pad: u32,
}

/// `struct drm_virtgpu_getparam`.
#[repr(C)]
struct GetParam {
    param: u64,
    value: u64,
}

/// `struct drm_virtgpu_resource_create`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CreateResource {
    pub(crate) target: u32,
    pub(crate) format: u32,
    pub(crate) bind: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) depth: u32,
    pub(crate) array_size: u32,
    pub(crate) last_level: u32,
    pub(crate) nr_samples: u32,
    pub(crate) flags: u32,
    pub(crate) bo_handle: u32,
    pub(crate) res_handle: u32,
    pub(crate) size: u32,
    pub(crate) stride: u32,
}

/// `struct drm_virtgpu_resource_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResourceInfo {
    pub(crate) bo_handle: u32,
    pub(crate) res_handle: u32,
    pub(crate) size: u32,
    pub(crate) blob_mem: u32,
}

/// `struct drm_virtgpu_3d_transfer_to_host` and `..._from_host`, which are the
/// same; the box is x, y, z, width, height, depth.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transfer {
    pub(crate) bo_handle: u32,
    pub(crate) area: [u32; 6],
    pub(crate) level: u32,
    pub(crate) offset: u32,
    pub(crate) stride: u32,
    pub(crate) layer_stride: u32,
}

/// `struct drm_virtgpu_3d_wait`.
#[repr(C)]
struct Wait {
    handle: u32,
    flags: u32,
}

/// `struct drm_virtgpu_resource_create_blob`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CreateBlob {
    blob_mem: u32,
    blob_flags: u32,
    pub(crate) bo_handle: u32,
    res_handle: u32,
    size: u64,
    pad: u32,
    cmd_size: u32,
    cmd: u64,
    blob_id: u64,
}

impl CreateBlob {
    pub(crate) fn new(blob_mem: u32, blob_flags: u32, size: u64, blob_id: u64) -> Self {
        Self {
            blob_mem,
            blob_flags,
            size,
            blob_id,
            ..Self::default()
        }
    }
}

/// `struct drm_virtgpu_context_set_param`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContextParam {
    pub(crate) param: u64,
    pub(crate) value: u64,
}

/// `struct drm_virtgpu_context_init`.
#[repr(C)]
struct ContextInit {
    num_params: u32,
    pad: u32,
    ctx_set_params: u64,
}

/// `VIRTGPU_WAIT_NOWAIT`.
const NOWAIT: u32 = 1;

// `DRM_COMMAND_BASE` is 0x40.
const MAP: Opcode = opcode::read_write::<Map>(b'd', 0x41);
const GETPARAM: Opcode = opcode::read_write::<GetParam>(b'd', 0x43);
const RESOURCE_CREATE: Opcode = opcode::read_write::<CreateResource>(b'd', 0x44);
const RESOURCE_INFO: Opcode = opcode::read_write::<ResourceInfo>(b'd', 0x45);
const TRANSFER_FROM_HOST: Opcode = opcode::read_write::<Transfer>(b'd', 0x46);
const TRANSFER_TO_HOST: Opcode = opcode::read_write::<Transfer>(b'd', 0x47);
const WAIT: Opcode = opcode::read_write::<Wait>(b'd', 0x48);
const CREATE_BLOB: Opcode = opcode::read_write::<CreateBlob>(b'd', 0x4a);
const CONTEXT_INIT: Opcode = opcode::read_write::<ContextInit>(b'd', 0x4b);

/// `DRM_IOCTL_VIRTGPU_MAP`: where to map an object.
pub(crate) fn map_offset(fd: BorrowedFd<'_>, handle: u32) -> Result<u64> {
    let mut map = Map {
        handle,
        ..Map::default()
    };
    // SAFETY: the ioctl reads and writes a `drm_virtgpu_map`, which is flat.
    unsafe { call_with(fd, "DRM_IOCTL_VIRTGPU_MAP", MAP, &mut map) }?;
    Ok(map.offset)
}

/// `DRM_IOCTL_VIRTGPU_GETPARAM`.
pub(crate) fn param(fd: BorrowedFd<'_>, param: u64) -> Result<i32> {
    let mut value = 0i32;
    let mut get = GetParam {
        param,
        value: (&raw mut value).expose_provenance() as u64,
    };
    // SAFETY: the ioctl reads a `drm_virtgpu_getparam`; the one pointer in it
    // leads to an int of ours, which is what the kernel writes there.
    unsafe { call_with(fd, "DRM_IOCTL_VIRTGPU_GETPARAM", GETPARAM, &mut get) }?;
    Ok(value)
}

/// `DRM_IOCTL_VIRTGPU_CONTEXT_INIT`.
pub(crate) fn context_init(fd: BorrowedFd<'_>, params: &[ContextParam]) -> Result<()> {
    let mut init = ContextInit {
        // More than the kernel's limit of 4 is EINVAL there, and 2^32 is more.
        num_params: u32::try_from(params.len()).unwrap_or(u32::MAX),
        pad: 0,
        ctx_set_params: params.as_ptr().expose_provenance() as u64,
    };
    let name = "DRM_IOCTL_VIRTGPU_CONTEXT_INIT";
    // SAFETY: the ioctl reads a `drm_virtgpu_context_init`, and `num_params`
    // parameters where its pointer leads, of which there are as many; a number
    // past what fits is refused before anything is read.
    unsafe { call_with(fd, name, CONTEXT_INIT, &mut init) }.map(drop)
}

/// `DRM_IOCTL_VIRTGPU_RESOURCE_CREATE`.
pub(crate) fn create_resource(fd: BorrowedFd<'_>, create: &mut CreateResource) -> Result<()> {
    let name = "DRM_IOCTL_VIRTGPU_RESOURCE_CREATE";
    // SAFETY: the ioctl reads and writes the flat struct.
    unsafe { call_with(fd, name, RESOURCE_CREATE, create) }.map(drop)
}

/// `DRM_IOCTL_VIRTGPU_RESOURCE_INFO`.
pub(crate) fn resource_info(fd: BorrowedFd<'_>, handle: u32) -> Result<ResourceInfo> {
    let mut info = ResourceInfo {
        bo_handle: handle,
        ..ResourceInfo::default()
    };
    let name = "DRM_IOCTL_VIRTGPU_RESOURCE_INFO";
    // SAFETY: the ioctl reads and writes the flat struct.
    unsafe { call_with(fd, name, RESOURCE_INFO, &mut info) }?;
    Ok(info)
}

/// `DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST`.
pub(crate) fn transfer_to_host(fd: BorrowedFd<'_>, mut transfer: Transfer) -> Result<()> {
    let name = "DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST";
    // SAFETY: the ioctl reads the flat struct.
    unsafe { call_with(fd, name, TRANSFER_TO_HOST, &mut transfer) }.map(drop)
}

/// `DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST`.
pub(crate) fn transfer_from_host(fd: BorrowedFd<'_>, mut transfer: Transfer) -> Result<()> {
    let name = "DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST";
    // SAFETY: the ioctl reads the flat struct.
    unsafe { call_with(fd, name, TRANSFER_FROM_HOST, &mut transfer) }.map(drop)
}

/// `DRM_IOCTL_VIRTGPU_WAIT` that does not wait: EBUSY instead.
pub(crate) fn look(fd: BorrowedFd<'_>, handle: u32) -> Result<()> {
    let mut wait = Wait {
        handle,
        flags: NOWAIT,
    };
    // SAFETY: the ioctl reads the flat struct.
    unsafe { call_with(fd, "DRM_IOCTL_VIRTGPU_WAIT", WAIT, &mut wait) }.map(drop)
}

/// `DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB`, without a 3D command.
pub(crate) fn create_blob(fd: BorrowedFd<'_>, create: &mut CreateBlob) -> Result<()> {
    let name = "DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB";
    // SAFETY: the ioctl reads and writes the struct, whose pointer it follows
    // only for `cmd_size` bytes: none, because the field is private.
    unsafe { call_with(fd, name, CREATE_BLOB, create) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read from the header, and observed on Linux 7.2 where the lab uses them.
    #[test]
    fn opcodes_are_the_headers() {
        assert_eq!(MAP, 0xc010_6441);
        assert_eq!(GETPARAM, 0xc010_6443);
        assert_eq!(RESOURCE_CREATE, 0xc038_6444);
        assert_eq!(RESOURCE_INFO, 0xc010_6445);
        assert_eq!(TRANSFER_FROM_HOST, 0xc02c_6446);
        assert_eq!(TRANSFER_TO_HOST, 0xc02c_6447);
        assert_eq!(WAIT, 0xc008_6448);
        assert_eq!(CREATE_BLOB, 0xc030_644a);
        assert_eq!(CONTEXT_INIT, 0xc010_644b);
    }
}
