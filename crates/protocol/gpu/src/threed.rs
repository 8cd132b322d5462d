//! 3D resources, transfers and command streams.
//!
//! Virtio 1.3, section 5.7.6.9; `struct virtio_gpu_resource_create_3d`,
//! `struct virtio_gpu_transfer_host_3d`, `struct virtio_gpu_cmd_submit`.
//! Targets, formats and bind flags are Gallium's, and opaque here.

use std::borrow::Cow;

use bitflags::bitflags;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;
use crate::body::{self, Body};

bitflags! {
    /// Flags of a 3D resource. Unknown bits are kept as received.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Resource3dFlags: u32 {
        /// The first row of the image is the top one.
        const Y_0_TOP = 1 << 0;
        const _ = !0;
    }
}

/// `RESOURCE_CREATE_3D`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceCreate3d {
    /// Id that the driver chose; 0 is invalid.
    pub resource_id: u32,
    /// Kind of texture or buffer (Gallium's `pipe_texture_target`).
    pub target: u32,
    /// Gallium's format number.
    pub format: u32,
    /// What the resource will be used for (Gallium's bind flags).
    pub bind: u32,
    /// Width in texels.
    pub width: u32,
    /// Height in texels.
    pub height: u32,
    /// Depth in texels.
    pub depth: u32,
    /// Layers.
    pub array_size: u32,
    /// Index of the last mipmap level.
    pub last_level: u32,
    /// Samples per texel.
    pub nr_samples: u32,
    /// Flags.
    pub flags: Resource3dFlags,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ResourceCreate3dWire {
    resource_id: U32,
    target: U32,
    format: U32,
    bind: U32,
    width: U32,
    height: U32,
    depth: U32,
    array_size: U32,
    last_level: U32,
    nr_samples: U32,
    flags: U32,
    padding: U32,
}

impl<'a> Body<'a> for ResourceCreate3d {
    type Wire = ResourceCreate3dWire;
    const NAME: &'static str = "virtio_gpu_resource_create_3d";

    fn decode(wire: &ResourceCreate3dWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            resource_id: wire.resource_id.get(),
            target: wire.target.get(),
            format: wire.format.get(),
            bind: wire.bind.get(),
            width: wire.width.get(),
            height: wire.height.get(),
            depth: wire.depth.get(),
            array_size: wire.array_size.get(),
            last_level: wire.last_level.get(),
            nr_samples: wire.nr_samples.get(),
            flags: Resource3dFlags::from_bits_retain(wire.flags.get()),
        })
    }

    fn wire(&self) -> ResourceCreate3dWire {
        ResourceCreate3dWire {
            resource_id: self.resource_id.into(),
            target: self.target.into(),
            format: self.format.into(),
            bind: self.bind.into(),
            width: self.width.into(),
            height: self.height.into(),
            depth: self.depth.into(),
            array_size: self.array_size.into(),
            last_level: self.last_level.into(),
            nr_samples: self.nr_samples.into(),
            flags: self.flags.bits().into(),
            padding: 0.into(),
        }
    }
}

/// A cuboid in texels.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Box3d {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Front edge, or first layer.
    pub z: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// Depth, or layers.
    pub depth: u32,
}

/// `TRANSFER_TO_HOST_3D` and `TRANSFER_FROM_HOST_3D`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transfer3d {
    /// The part of the resource to write or read.
    pub region: Box3d,
    /// Offset into the guest's backing, in bytes.
    pub offset: u64,
    /// The resource.
    pub resource_id: u32,
    /// Mipmap level.
    pub level: u32,
    /// Bytes from row to row in the backing; 0 if packed.
    pub stride: u32,
    /// Bytes from layer to layer in the backing; 0 if packed.
    pub layer_stride: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Transfer3dWire {
    region: [U32; 6],
    offset: U64,
    resource_id: U32,
    level: U32,
    stride: U32,
    layer_stride: U32,
}

impl<'a> Body<'a> for Transfer3d {
    type Wire = Transfer3dWire;
    const NAME: &'static str = "virtio_gpu_transfer_host_3d";

    fn decode(wire: &Transfer3dWire, _: &[u8]) -> Result<Self, ParseError> {
        let [x, y, z, width, height, depth] = wire.region.map(U32::get);
        Ok(Self {
            region: Box3d {
                x,
                y,
                z,
                width,
                height,
                depth,
            },
            offset: wire.offset.get(),
            resource_id: wire.resource_id.get(),
            level: wire.level.get(),
            stride: wire.stride.get(),
            layer_stride: wire.layer_stride.get(),
        })
    }

    fn wire(&self) -> Transfer3dWire {
        let Box3d {
            x,
            y,
            z,
            width,
            height,
            depth,
        } = self.region;
        Transfer3dWire {
            region: [x, y, z, width, height, depth].map(U32::new),
            offset: self.offset.into(),
            resource_id: self.resource_id.into(),
            level: self.level.into(),
            stride: self.stride.into(),
            layer_stride: self.layer_stride.into(),
        }
    }
}

/// `SUBMIT_3D`: a command stream for the context in the header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Submit3d<'a> {
    /// The stream, in the language of the context's capset.
    pub stream: Cow<'a, [u8]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Submit3dWire {
    size: U32,
    padding: U32,
}

impl<'a> Body<'a> for Submit3d<'a> {
    type Wire = Submit3dWire;
    const NAME: &'static str = "virtio_gpu_cmd_submit";

    fn decode(wire: &'a Submit3dWire, tail: &'a [u8]) -> Result<Self, ParseError> {
        let size = wire.size.get();
        let stream = usize::try_from(size)
            .ok()
            .and_then(|len| tail.get(..len))
            .ok_or(ParseError::StreamTooShort {
                size,
                have: tail.len(),
            })?;
        Ok(Self {
            stream: Cow::Borrowed(stream),
        })
    }

    fn wire(&self) -> Submit3dWire {
        Submit3dWire {
            size: body::count(self.stream.len()).into(),
            padding: 0.into(),
        }
    }

    fn tail(&self) -> &[u8] {
        &self.stream
    }
}
