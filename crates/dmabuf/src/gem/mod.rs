//! Buffers of DRM devices: GEM handles, PRIME in and out.
//!
//! `include/uapi/drm/drm.h`, `Documentation/gpu/drm-mm.rst`.
//!
//! A GEM handle is a number that means something to one open device only, and
//! the kernel counts it once however often it gave it out: importing a buffer
//! that the device has already returns the handle that is there, and closing it
//! once closes it for everybody. So a [`Device`] counts its handles, and an
//! [`Object`] is a share in one: the last to go closes it.
//!
//! | Module | What |
//! |---|---|
//! | [`Device`] | an open node: dumb buffers, PRIME import |
//! | [`Object`] | a share in a handle: PRIME export |
//! | [`virtgpu`] | virtio-gpu's blobs and resources |
//! | [`Syncobj`] | fences to and from sync_files |
//!
//! An imported object is mapped [through its exporter](Object::map), never by the
//! importing driver.
//!
//! An export is always for reading *and* writing, because what the first export
//! of an object allows holds for all later ones, of every process.

mod device;
mod handles;
mod object;
mod syncobj;
pub mod virtgpu;

pub use device::{Device, Dumb, Node};
pub use object::{MapOffset, Object, Origin};
pub use syncobj::Syncobj;
