//! Cursor commands, the only ones on the cursor queue.
//!
//! Virtio 1.3, section 5.7.6.10; `struct virtio_gpu_update_cursor`. Both
//! commands have the same body; `MOVE_CURSOR` uses only the position.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;
use crate::body::Body;

/// Where a cursor is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorPosition {
    /// Scanout, from 0.
    pub scanout_id: u32,
    /// Pixels from the left edge. The Linux driver sends the two's complement
    /// of a negative position.
    pub x: u32,
    /// Pixels from the top edge; negative like `x`.
    pub y: u32,
}

/// `UPDATE_CURSOR` and `MOVE_CURSOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Where the cursor goes.
    pub position: CursorPosition,
    /// The 64 by 64 pixel resource with its shape; 0 hides the cursor.
    pub resource_id: u32,
    /// Column of the shape that points.
    pub hot_x: u32,
    /// Row of the shape that points.
    pub hot_y: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CursorWire {
    scanout_id: U32,
    x: U32,
    y: U32,
    padding: U32,
    resource_id: U32,
    hot_x: U32,
    hot_y: U32,
    padding2: U32,
}

impl<'a> Body<'a> for Cursor {
    type Wire = CursorWire;
    const NAME: &'static str = "virtio_gpu_update_cursor";

    fn decode(wire: &CursorWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            position: CursorPosition {
                scanout_id: wire.scanout_id.get(),
                x: wire.x.get(),
                y: wire.y.get(),
            },
            resource_id: wire.resource_id.get(),
            hot_x: wire.hot_x.get(),
            hot_y: wire.hot_y.get(),
        })
    }

    fn wire(&self) -> CursorWire {
        CursorWire {
            scanout_id: self.position.scanout_id.into(),
            x: self.position.x.into(),
            y: self.position.y.into(),
            padding: 0.into(),
            resource_id: self.resource_id.into(),
            hot_x: self.hot_x.into(),
            hot_y: self.hot_y.into(),
            padding2: 0.into(),
        }
    }
}
