//! Blob resources: plain bytes that guest and host share.
//!
//! Virtio 1.3, section 5.7.6.8; `struct virtio_gpu_resource_create_blob`,
//! `struct virtio_gpu_set_scanout_blob`, `struct virtio_gpu_resource_map_blob`,
//! `struct virtio_gpu_resp_map_info`. Unmapping has a
//! [`ResourceRef`](crate::ResourceRef) for its body.

use std::borrow::Cow;

use bitflags::bitflags;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::body::{self, Body};
use crate::memory::{self, MemEntry};
use crate::twod::RectWire;
use crate::{Format, ParseError, Rect};

/// Whose memory a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum BlobMem {
    /// The guest's: the ranges in [`ResourceCreateBlob::entries`].
    Guest = 1,
    /// The host's, named by [`ResourceCreateBlob::blob_id`].
    Host3d = 2,
    /// The host's, with guest memory that the two copy between.
    Host3dGuest = 3,
}

impl TryFrom<u32> for BlobMem {
    type Error = ParseError;

    fn try_from(value: u32) -> Result<Self, ParseError> {
        match value {
            1 => Ok(Self::Guest),
            2 => Ok(Self::Host3d),
            3 => Ok(Self::Host3dGuest),
            _ => Err(ParseError::UnknownBlobMem { value }),
        }
    }
}

bitflags! {
    /// What the guest wants to do with a blob.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct BlobFlags: u32 {
        /// Map it.
        const MAPPABLE = 1 << 0;
        /// Share it between processes.
        const SHAREABLE = 1 << 1;
        /// Share it with another virtio device.
        const CROSS_DEVICE = 1 << 2;
    }
}

/// `RESOURCE_CREATE_BLOB`. The context that [`Self::blob_id`] belongs to is in
/// the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceCreateBlob<'a> {
    /// Id that the driver chose; 0 is invalid.
    pub resource_id: u32,
    /// Whose memory.
    pub mem: BlobMem,
    /// What for.
    pub flags: BlobFlags,
    /// Which of the host's objects, if the host's.
    pub blob_id: u64,
    /// Size in bytes.
    pub size: u64,
    /// The memory, if the guest's.
    pub entries: Cow<'a, [MemEntry]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ResourceCreateBlobWire {
    resource_id: U32,
    mem: U32,
    flags: U32,
    nr_entries: U32,
    blob_id: U64,
    size: U64,
}

impl<'a> Body<'a> for ResourceCreateBlob<'a> {
    type Wire = ResourceCreateBlobWire;
    const NAME: &'static str = "virtio_gpu_resource_create_blob";

    fn decode(wire: &'a ResourceCreateBlobWire, tail: &'a [u8]) -> Result<Self, ParseError> {
        let bits = wire.flags.get();
        Ok(Self {
            resource_id: wire.resource_id.get(),
            mem: wire.mem.get().try_into()?,
            flags: BlobFlags::from_bits(bits).ok_or(ParseError::UnknownBlobFlags {
                unknown: bits & !BlobFlags::all().bits(),
            })?,
            blob_id: wire.blob_id.get(),
            size: wire.size.get(),
            entries: memory::entries(wire.nr_entries.get(), tail)?,
        })
    }

    fn wire(&self) -> ResourceCreateBlobWire {
        ResourceCreateBlobWire {
            resource_id: self.resource_id.into(),
            mem: (self.mem as u32).into(),
            flags: self.flags.bits().into(),
            nr_entries: body::count(self.entries.len()).into(),
            blob_id: self.blob_id.into(),
            size: self.size.into(),
        }
    }

    fn tail(&self) -> &[u8] {
        self.entries.as_bytes()
    }
}

/// `SET_SCANOUT_BLOB`: shows a blob, whose layout comes with the command.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetScanoutBlob {
    /// The part of the picture to show.
    pub rect: Rect,
    /// Scanout, from 0.
    pub scanout_id: u32,
    /// Blob to show; 0 turns the scanout off.
    pub resource_id: u32,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// Pixel format as sent: a command that turns the scanout off needs none.
    /// See [`Self::format`].
    pub format_code: u32,
    /// Bytes from row to row, per plane.
    pub strides: [u32; 4],
    /// Offset of the first pixel in bytes, per plane.
    pub offsets: [u32; 4],
}

impl SetScanoutBlob {
    /// The pixel format.
    ///
    /// # Errors
    /// [`ParseError::UnknownFormat`].
    pub fn format(&self) -> Result<Format, ParseError> {
        self.format_code.try_into()
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SetScanoutBlobWire {
    rect: RectWire,
    scanout_id: U32,
    resource_id: U32,
    width: U32,
    height: U32,
    format: U32,
    padding: U32,
    strides: [U32; 4],
    offsets: [U32; 4],
}

impl<'a> Body<'a> for SetScanoutBlob {
    type Wire = SetScanoutBlobWire;
    const NAME: &'static str = "virtio_gpu_set_scanout_blob";

    fn decode(wire: &SetScanoutBlobWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            rect: (&wire.rect).into(),
            scanout_id: wire.scanout_id.get(),
            resource_id: wire.resource_id.get(),
            width: wire.width.get(),
            height: wire.height.get(),
            format_code: wire.format.get(),
            strides: wire.strides.map(U32::get),
            offsets: wire.offsets.map(U32::get),
        })
    }

    fn wire(&self) -> SetScanoutBlobWire {
        SetScanoutBlobWire {
            rect: self.rect.into(),
            scanout_id: self.scanout_id.into(),
            resource_id: self.resource_id.into(),
            width: self.width.into(),
            height: self.height.into(),
            format: self.format_code.into(),
            padding: 0.into(),
            strides: self.strides.map(U32::new),
            offsets: self.offsets.map(U32::new),
        }
    }
}

/// `RESOURCE_MAP_BLOB`: maps a blob into the host-visible window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceMapBlob {
    /// The blob.
    pub resource_id: u32,
    /// Where in the window, in bytes.
    pub offset: u64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ResourceMapBlobWire {
    resource_id: U32,
    padding: U32,
    offset: U64,
}

impl<'a> Body<'a> for ResourceMapBlob {
    type Wire = ResourceMapBlobWire;
    const NAME: &'static str = "virtio_gpu_resource_map_blob";

    fn decode(wire: &ResourceMapBlobWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            resource_id: wire.resource_id.get(),
            offset: wire.offset.get(),
        })
    }

    fn wire(&self) -> ResourceMapBlobWire {
        ResourceMapBlobWire {
            resource_id: self.resource_id.into(),
            padding: 0.into(),
            offset: self.offset.into(),
        }
    }
}

/// `map_info` of `RESP_OK_MAP_INFO`: how the guest must map a blob.
///
/// The Linux driver compares the whole word, not only the caching mask, so no
/// other bit may be set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MapCaching {
    /// Nothing said. The Linux driver maps it write-back.
    #[default]
    None = 0,
    /// Write-back.
    Cached = 1,
    /// Uncached.
    Uncached = 2,
    /// Write-combining.
    WriteCombining = 3,
}

impl TryFrom<u32> for MapCaching {
    type Error = ParseError;

    fn try_from(value: u32) -> Result<Self, ParseError> {
        match value {
            0 => Ok(Self::None),
            1 => Ok(Self::Cached),
            2 => Ok(Self::Uncached),
            3 => Ok(Self::WriteCombining),
            _ => Err(ParseError::UnknownMapInfo { value }),
        }
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct MapInfoWire {
    map_info: U32,
    padding: U32,
}

impl<'a> Body<'a> for MapCaching {
    type Wire = MapInfoWire;
    const NAME: &'static str = "virtio_gpu_resp_map_info";

    fn decode(wire: &MapInfoWire, _: &[u8]) -> Result<Self, ParseError> {
        wire.map_info.get().try_into()
    }

    fn wire(&self) -> MapInfoWire {
        MapInfoWire {
            map_info: (*self as u32).into(),
            padding: 0.into(),
        }
    }
}
