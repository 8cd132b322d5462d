//! Objects of the virtio-gpu driver: blobs and 3D resources, from within a
//! guest. `include/uapi/drm/virtgpu_drm.h`.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::dma_buf::Readiness;
use crate::error::{Error, Result};
use crate::gem::{Device, MapOffset, Object};
use crate::sys::virtgpu as ioctl;

/// What the driver tells of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Param {
    /// The device renders: VIRGL.
    ThreeD = 1,
    /// It has blobs.
    Blob = 3,
    /// It has a window in which the guest maps the host's blobs.
    HostVisible = 4,
    /// It assigns UUIDs.
    CrossDevice = 5,
    /// Contexts can be initialised.
    ContextInit = 6,
}

/// Where a blob's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum BlobMemory {
    /// In the guest.
    Guest = 1,
    /// On the host; needs VIRGL.
    Host3d = 2,
    /// On the host, with the guest's as their shadow.
    Host3dGuest = 3,
}

/// What is asked of a new blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobRequest {
    /// Where its bytes are.
    pub memory: BlobMemory,
    /// Bytes, whole pages.
    pub size: u64,
    /// The guest may map it.
    pub mappable: bool,
    /// Other processes of the guest may have it.
    pub shareable: bool,
    /// Other devices may have it, under its UUID.
    pub cross_device: bool,
    /// The host's name for what it is to be made of; 0 for the guest's.
    pub id: u64,
}

impl BlobRequest {
    /// A blob that the guest maps and every party may have.
    #[must_use]
    pub fn shared(memory: BlobMemory, size: u64) -> Self {
        Self {
            memory,
            size,
            mappable: true,
            shareable: true,
            cross_device: true,
            id: 0,
        }
    }

    fn flags(&self) -> u32 {
        u32::from(self.mappable)
            | u32::from(self.shareable) << 1
            | u32::from(self.cross_device) << 2
    }
}

/// The shape of a resource, as Gallium has it
/// (`struct drm_virtgpu_resource_create`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceRequest {
    /// `PIPE_TEXTURE_2D` is 2.
    pub target: u32,
    /// `VIRGL_FORMAT_B8G8R8X8_UNORM` is 2.
    pub format: u32,
    /// `VIRGL_BIND_*`.
    pub bind: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes in all.
    pub size: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
}

/// What the device knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceInfo {
    /// The resource's number on the device.
    pub resource: u32,
    /// Bytes, where the driver tells.
    pub size: u32,
    /// The blob memory's number; 0 for what is no blob.
    pub blob_memory: u32,
}

/// A rectangle of a resource and where its rows are in the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Area {
    /// Pixels from the left.
    pub x: u32,
    /// Pixels from the top.
    pub y: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Where the first row starts, in bytes.
    pub offset: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
}

/// What the device says of `param`; 0 for what it lacks.
///
/// # Errors
/// [`Error::Sys`]: EINVAL for what the driver doesn't know.
pub fn param(device: &Device, param: Param) -> Result<i32> {
    ioctl::param(device.as_fd(), param as u64)
}

/// Gives this open device its context, of the given capability set; 0 asks for
/// none in particular. Once per open device, and before its first blob.
///
/// # Errors
/// [`Error::Sys`]: EEXIST the second time, EINVAL where the device has no
/// contexts.
pub fn init_context(device: &Device, capability_set: u64, rings: u64) -> Result<()> {
    // VIRTGPU_CONTEXT_PARAM_CAPSET_ID and VIRTGPU_CONTEXT_PARAM_NUM_RINGS.
    let wanted = [(1, capability_set), (2, rings)];
    let given = wanted.into_iter().filter(|(_, value)| *value != 0);
    let params: Vec<_> = given
        .map(|(param, value)| ioctl::ContextParam { param, value })
        .collect();
    ioctl::context_init(device.as_fd(), &params)
}

/// Makes a blob. A device that refuses it is heard of only when the blob is
/// used.
///
/// # Errors
/// [`Error::Sys`]: EINVAL for whatever the driver doesn't like.
pub fn create_blob(device: &Device, request: &BlobRequest) -> Result<Object> {
    let (memory, flags) = (request.memory as u32, request.flags());
    let mut create = ioctl::CreateBlob::new(memory, flags, request.size, request.id);
    ioctl::create_blob(device.as_fd(), &mut create)?;
    // Guest memory can be mapped whether or not that was asked for; the driver
    // refuses the rest.
    Ok(device.own(create.bo_handle, request.size, MapOffset::Virtgpu))
}

/// Makes a 3D resource with memory of the guest's behind it.
///
/// # Errors
/// [`Error::Sys`]: EINVAL where the device doesn't render.
pub fn create_resource(device: &Device, request: &ResourceRequest) -> Result<Object> {
    let mut create = ioctl::CreateResource {
        target: request.target,
        format: request.format,
        bind: request.bind,
        width: request.width,
        height: request.height,
        depth: 1,
        array_size: 1,
        size: request.size,
        stride: request.stride,
        ..ioctl::CreateResource::default()
    };
    ioctl::create_resource(device.as_fd(), &mut create)?;
    let size = u64::from(request.size).next_multiple_of(crate::page_size());
    Ok(device.own(create.bo_handle, size, MapOffset::Virtgpu))
}

/// What the device knows of an object.
///
/// # Errors
/// [`Error::Sys`].
pub fn info(object: &Object) -> Result<ResourceInfo> {
    let info = ioctl::resource_info(object.device().as_fd(), object.handle())?;
    Ok(ResourceInfo {
        resource: info.res_handle,
        size: info.size,
        blob_memory: info.blob_mem,
    })
}

/// How long [`wait`] sleeps between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// Waits until the device has done all that concerns an object, at most for
/// `limit`. The driver's own wait has a limit of its own, 15 seconds, so this
/// looks again and again instead.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Sys`].
pub fn wait(object: &Object, limit: Duration) -> Result<()> {
    let began = Instant::now();
    while !is_idle(object)? {
        let waited = began.elapsed();
        if waited >= limit {
            return Err(Error::Fenced {
                buffer: format!("{} {}", object.device().driver(), object.handle()),
                readiness: Readiness::Write,
                waited,
            });
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Whether the device is done with an object.
///
/// # Errors
/// [`Error::Sys`].
pub fn is_idle(object: &Object) -> Result<bool> {
    match ioctl::look(object.device().as_fd(), object.handle()) {
        Ok(()) => Ok(true),
        Err(e) if e.errno() == Some(libc::EBUSY) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Copies an area of the guest's memory into the host's resource.
///
/// # Errors
/// [`Error::Sys`]: EINVAL for an object that is no resource of the host's.
pub fn transfer_to_host(object: &Object, area: Area) -> Result<()> {
    ioctl::transfer_to_host(object.device().as_fd(), area.of(object))
}

/// Copies an area of the host's resource into the guest's memory; done when
/// [`wait`] returns.
///
/// # Errors
/// [`Error::Sys`]: EINVAL for an object that is no resource of the host's.
pub fn transfer_from_host(object: &Object, area: Area) -> Result<()> {
    ioctl::transfer_from_host(object.device().as_fd(), area.of(object))
}

impl Area {
    fn of(self, object: &Object) -> ioctl::Transfer {
        ioctl::Transfer {
            bo_handle: object.handle(),
            area: [self.x, self.y, 0, self.width, self.height, 1],
            offset: self.offset,
            stride: self.stride,
            ..ioctl::Transfer::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blobs_flags_are_the_headers() {
        let all = BlobRequest::shared(BlobMemory::Guest, 4096);
        assert_eq!(all.flags(), 7);
        let mappable = BlobRequest {
            shareable: false,
            cross_device: false,
            ..all
        };
        assert_eq!(mappable.flags(), 1);
        assert_eq!(BlobMemory::Host3dGuest as u32, 3);
    }
}
