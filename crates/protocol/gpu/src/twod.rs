//! 2D resources, scanouts and transfers.
//!
//! Virtio 1.3, section 5.7.6.8. `RESOURCE_ATTACH_BACKING` is in the `memory`
//! module, because blobs carry the same list.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::body::Body;
use crate::{Format, ParseError};

/// A rectangle in pixels.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width; `x + width` may overflow until checked.
    pub width: u32,
    /// Height; `y + height` may overflow until checked.
    pub height: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RectWire {
    x: U32,
    y: U32,
    width: U32,
    height: U32,
}

impl Rect {
    /// A rectangle at the origin.
    #[must_use]
    pub const fn of_size(width: u32, height: u32) -> Self {
        Self {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// Whether the rectangle lies inside a surface of `width` by `height`
    /// pixels. An empty rectangle does if its corner does.
    #[must_use]
    pub fn fits(&self, width: u32, height: u32) -> bool {
        let within =
            |start: u32, len: u32, limit| start.checked_add(len).is_some_and(|end| end <= limit);
        within(self.x, self.width, width) && within(self.y, self.height, height)
    }
}

impl From<&RectWire> for Rect {
    fn from(wire: &RectWire) -> Self {
        Self {
            x: wire.x.get(),
            y: wire.y.get(),
            width: wire.width.get(),
            height: wire.height.get(),
        }
    }
}

impl From<Rect> for RectWire {
    fn from(rect: Rect) -> Self {
        Self {
            x: rect.x.into(),
            y: rect.y.into(),
            width: rect.width.into(),
            height: rect.height.into(),
        }
    }
}

/// The body of every command that only names a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceRef {
    /// The resource.
    pub resource_id: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ResourceRefWire {
    resource_id: U32,
    padding: U32,
}

impl<'a> Body<'a> for ResourceRef {
    type Wire = ResourceRefWire;
    const NAME: &'static str = "a command's resource id";

    fn decode(wire: &ResourceRefWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            resource_id: wire.resource_id.get(),
        })
    }

    fn wire(&self) -> ResourceRefWire {
        ResourceRefWire {
            resource_id: self.resource_id.into(),
            padding: 0.into(),
        }
    }
}

/// `RESOURCE_CREATE_2D`: a resource of pixels that the device stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceCreate2d {
    /// Id that the driver chose; 0 is invalid.
    pub resource_id: u32,
    /// Pixel format.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ResourceCreate2dWire {
    resource_id: U32,
    format: U32,
    width: U32,
    height: U32,
}

impl<'a> Body<'a> for ResourceCreate2d {
    type Wire = ResourceCreate2dWire;
    const NAME: &'static str = "virtio_gpu_resource_create_2d";

    fn decode(wire: &ResourceCreate2dWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            resource_id: wire.resource_id.get(),
            format: wire.format.get().try_into()?,
            width: wire.width.get(),
            height: wire.height.get(),
        })
    }

    fn wire(&self) -> ResourceCreate2dWire {
        ResourceCreate2dWire {
            resource_id: self.resource_id.into(),
            format: self.format.code().into(),
            width: self.width.into(),
            height: self.height.into(),
        }
    }
}

/// `SET_SCANOUT`: shows a part of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetScanout {
    /// The part of the resource to show.
    pub rect: Rect,
    /// Scanout, from 0.
    pub scanout_id: u32,
    /// Resource to show; 0 turns the scanout off.
    pub resource_id: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SetScanoutWire {
    rect: RectWire,
    scanout_id: U32,
    resource_id: U32,
}

impl<'a> Body<'a> for SetScanout {
    type Wire = SetScanoutWire;
    const NAME: &'static str = "virtio_gpu_set_scanout";

    fn decode(wire: &SetScanoutWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            rect: (&wire.rect).into(),
            scanout_id: wire.scanout_id.get(),
            resource_id: wire.resource_id.get(),
        })
    }

    fn wire(&self) -> SetScanoutWire {
        SetScanoutWire {
            rect: self.rect.into(),
            scanout_id: self.scanout_id.into(),
            resource_id: self.resource_id.into(),
        }
    }
}

/// `RESOURCE_FLUSH`: the scanouts that show the resource should show it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceFlush {
    /// The part of the resource that changed.
    pub rect: Rect,
    /// The resource.
    pub resource_id: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ResourceFlushWire {
    rect: RectWire,
    resource_id: U32,
    padding: U32,
}

impl<'a> Body<'a> for ResourceFlush {
    type Wire = ResourceFlushWire;
    const NAME: &'static str = "virtio_gpu_resource_flush";

    fn decode(wire: &ResourceFlushWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            rect: (&wire.rect).into(),
            resource_id: wire.resource_id.get(),
        })
    }

    fn wire(&self) -> ResourceFlushWire {
        ResourceFlushWire {
            rect: self.rect.into(),
            resource_id: self.resource_id.into(),
            padding: 0.into(),
        }
    }
}

/// `TRANSFER_TO_HOST_2D`: copies from the guest's backing into the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransferToHost2d {
    /// The part of the resource to write.
    pub rect: Rect,
    /// Offset into the backing of the rectangle's first pixel, in bytes.
    pub offset: u64,
    /// The resource.
    pub resource_id: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct TransferToHost2dWire {
    rect: RectWire,
    offset: U64,
    resource_id: U32,
    padding: U32,
}

impl<'a> Body<'a> for TransferToHost2d {
    type Wire = TransferToHost2dWire;
    const NAME: &'static str = "virtio_gpu_transfer_to_host_2d";

    fn decode(wire: &TransferToHost2dWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            rect: (&wire.rect).into(),
            offset: wire.offset.get(),
            resource_id: wire.resource_id.get(),
        })
    }

    fn wire(&self) -> TransferToHost2dWire {
        TransferToHost2dWire {
            rect: self.rect.into(),
            offset: self.offset.into(),
            resource_id: self.resource_id.into(),
            padding: 0.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_does_not_wrap() {
        let rect = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        assert!(rect(0, 0, 4, 3).fits(4, 3));
        assert!(rect(4, 3, 0, 0).fits(4, 3));
        assert!(!rect(1, 0, 4, 3).fits(4, 3));
        assert!(!rect(0, 1, 4, 3).fits(4, 3));
        assert!(!rect(u32::MAX, 0, 2, 1).fits(4, 3));
        assert!(!rect(0, 2, 1, u32::MAX).fits(4, 3));
    }
}
