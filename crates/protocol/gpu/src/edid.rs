//! EDID: what a display says about itself. Only the envelope; making and
//! reading EDIDs is for others.
//!
//! Virtio 1.3, section 5.7.6.8; `struct virtio_gpu_cmd_get_edid`,
//! `struct virtio_gpu_resp_edid`.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;
use crate::body::{self, Body};

/// Most bytes of an EDID.
pub const EDID_MAX_SIZE: usize = 1024;

/// `GET_EDID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetEdid {
    /// Scanout, from 0.
    pub scanout_id: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct GetEdidWire {
    scanout_id: U32,
    padding: U32,
}

impl<'a> Body<'a> for GetEdid {
    type Wire = GetEdidWire;
    const NAME: &'static str = "virtio_gpu_cmd_get_edid";

    fn decode(wire: &GetEdidWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            scanout_id: wire.scanout_id.get(),
        })
    }

    fn wire(&self) -> GetEdidWire {
        GetEdidWire {
            scanout_id: self.scanout_id.into(),
            padding: 0.into(),
        }
    }
}

/// The bytes of an EDID, at most [`EDID_MAX_SIZE`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Edid(Vec<u8>);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct EdidWire {
    size: U32,
    padding: U32,
    edid: [u8; EDID_MAX_SIZE],
}

impl Edid {
    /// Wraps the bytes of an EDID.
    ///
    /// # Errors
    /// [`ParseError::EdidTooLong`] past [`EDID_MAX_SIZE`] bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, ParseError> {
        if bytes.len() > EDID_MAX_SIZE {
            return Err(ParseError::EdidTooLong {
                len: bytes.len(),
                max: EDID_MAX_SIZE,
            });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> Body<'a> for Edid {
    type Wire = EdidWire;
    const NAME: &'static str = "virtio_gpu_resp_edid";

    fn decode(wire: &EdidWire, _: &[u8]) -> Result<Self, ParseError> {
        let len = usize::try_from(wire.size.get()).unwrap_or(usize::MAX);
        let bytes = wire.edid.get(..len).ok_or(ParseError::EdidTooLong {
            len,
            max: EDID_MAX_SIZE,
        })?;
        Self::new(bytes.to_vec())
    }

    fn wire(&self) -> EdidWire {
        let mut edid = [0; EDID_MAX_SIZE];
        edid[..self.0.len()].copy_from_slice(&self.0);
        EdidWire {
            size: body::count(self.0.len()).into(),
            padding: 0.into(),
            edid,
        }
    }
}
