//! Every answer a device can give.
//!
//! Virtio 1.3, section 5.7.6.7; `enum virtio_gpu_ctrl_type`,
//! `struct virtio_gpu_resp_display_info` and the other `resp` structures.

use uuid::Uuid;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::body::{self, Body};
use crate::twod::RectWire;
use crate::{CapsetInfo, ControlHeader, Edid, MAX_SCANOUTS, MapCaching, ParseError, Rect};

/// Why a device refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u32)]
pub enum ErrorCode {
    /// Something else, an unknown command among it.
    #[error("unspecified error")]
    Unspecified = 0x1200,
    /// The device has no memory for it.
    #[error("out of memory")]
    OutOfMemory = 0x1201,
    /// No such scanout.
    #[error("invalid scanout id")]
    InvalidScanoutId = 0x1202,
    /// No such resource, or it exists already.
    #[error("invalid resource id")]
    InvalidResourceId = 0x1203,
    /// No such context, or it exists already.
    #[error("invalid context id")]
    InvalidContextId = 0x1204,
    /// Another field is wrong.
    #[error("invalid parameter")]
    InvalidParameter = 0x1205,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::OutOfMemory,
        Self::InvalidScanoutId,
        Self::InvalidResourceId,
        Self::InvalidContextId,
        Self::InvalidParameter,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The error of a number on the wire, if it is one.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.code() == code)
    }
}

/// State of one scanout.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DisplayMode {
    /// Preferred size, and position relative to the other scanouts, in pixels.
    pub rect: Rect,
    /// Whether a display is connected.
    pub enabled: bool,
    /// No flags are defined.
    pub flags: u32,
}

/// `RESP_OK_DISPLAY_INFO`: the scanouts, of which the device has the first
/// `num_scanouts`.
pub type DisplayInfo = [DisplayMode; MAX_SCANOUTS];

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct DisplayModeWire {
    rect: RectWire,
    enabled: U32,
    flags: U32,
}

impl<'a> Body<'a> for DisplayInfo {
    type Wire = [DisplayModeWire; MAX_SCANOUTS];
    const NAME: &'static str = "virtio_gpu_resp_display_info";

    fn decode(wire: &Self::Wire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(wire.map(|mode| DisplayMode {
            rect: (&mode.rect).into(),
            enabled: mode.enabled.get() != 0,
            flags: mode.flags.get(),
        }))
    }

    fn wire(&self) -> Self::Wire {
        self.map(|mode| DisplayModeWire {
            rect: mode.rect.into(),
            enabled: u32::from(mode.enabled).into(),
            flags: mode.flags.into(),
        })
    }
}

/// The type of a successful response. Errors have an [`ErrorCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ResponseKind {
    /// Done; nothing to say.
    OkNoData = 0x1100,
    /// To `GET_DISPLAY_INFO`.
    OkDisplayInfo = 0x1101,
    /// To `GET_CAPSET_INFO`.
    OkCapsetInfo = 0x1102,
    /// To `GET_CAPSET`.
    OkCapset = 0x1103,
    /// To `GET_EDID`.
    OkEdid = 0x1104,
    /// To `RESOURCE_ASSIGN_UUID`.
    OkResourceUuid = 0x1105,
    /// To `RESOURCE_MAP_BLOB`.
    OkMapInfo = 0x1106,
}

impl ResponseKind {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::OkNoData,
        Self::OkDisplayInfo,
        Self::OkCapsetInfo,
        Self::OkCapset,
        Self::OkEdid,
        Self::OkResourceUuid,
        Self::OkMapInfo,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}

impl TryFrom<u32> for ResponseKind {
    type Error = ParseError;

    fn try_from(kind: u32) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|known| known.code() == kind)
            .ok_or(ParseError::UnknownResponse { kind })
    }
}

/// A response without its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Done; nothing to say.
    OkNoData,
    /// The scanouts.
    OkDisplayInfo(Box<DisplayInfo>),
    /// A capset's description.
    OkCapsetInfo(CapsetInfo),
    /// A capset's contents: all bytes that follow the header.
    OkCapset(Vec<u8>),
    /// A display's EDID.
    OkEdid(Edid),
    /// A resource's identity.
    OkResourceUuid(Uuid),
    /// How to map the blob that is now in the window.
    OkMapInfo(MapCaching),
    /// Refused.
    Error(ErrorCode),
}

impl Response {
    /// The type on the wire.
    #[must_use]
    pub fn code(&self) -> u32 {
        let kind = match self {
            Self::OkNoData => ResponseKind::OkNoData,
            Self::OkDisplayInfo(_) => ResponseKind::OkDisplayInfo,
            Self::OkCapsetInfo(_) => ResponseKind::OkCapsetInfo,
            Self::OkCapset(_) => ResponseKind::OkCapset,
            Self::OkEdid(_) => ResponseKind::OkEdid,
            Self::OkResourceUuid(_) => ResponseKind::OkResourceUuid,
            Self::OkMapInfo(_) => ResponseKind::OkMapInfo,
            Self::Error(error) => return error.code(),
        };
        kind.code()
    }

    /// The response as bytes. `request` is the header of the command that it
    /// answers, whose fence is echoed.
    #[must_use]
    pub fn encode(&self, request: &ControlHeader) -> Vec<u8> {
        let mut out = request.reply().start(self.code(), 0);
        match self {
            Self::OkNoData | Self::Error(_) => {}
            Self::OkDisplayInfo(info) => body::push(info.as_ref(), &mut out),
            Self::OkCapsetInfo(info) => body::push(info, &mut out),
            Self::OkCapset(bytes) => out.extend_from_slice(bytes),
            Self::OkEdid(edid) => body::push(edid, &mut out),
            Self::OkResourceUuid(uuid) => body::push(uuid, &mut out),
            Self::OkMapInfo(caching) => body::push(caching, &mut out),
        }
        out
    }

    /// Parses a response and its header. `bytes` must be exactly what the
    /// device wrote, since only that tells the size of a capset.
    ///
    /// # Errors
    /// What the device got wrong.
    pub fn parse(bytes: &[u8]) -> Result<(ControlHeader, Self), ParseError> {
        let (kind, header, body) = ControlHeader::split(bytes)?;
        if let Some(error) = ErrorCode::from_code(kind) {
            return Ok((header, Self::Error(error)));
        }
        let response = match ResponseKind::try_from(kind)? {
            ResponseKind::OkNoData => Self::OkNoData,
            ResponseKind::OkDisplayInfo => Self::OkDisplayInfo(Box::new(body::parse(body)?)),
            ResponseKind::OkCapsetInfo => Self::OkCapsetInfo(body::parse(body)?),
            ResponseKind::OkCapset => Self::OkCapset(body.to_vec()),
            ResponseKind::OkEdid => Self::OkEdid(body::parse(body)?),
            ResponseKind::OkResourceUuid => Self::OkResourceUuid(body::parse(body)?),
            ResponseKind::OkMapInfo => Self::OkMapInfo(body::parse(body)?),
        };
        Ok((header, response))
    }
}

impl From<ErrorCode> for Response {
    fn from(error: ErrorCode) -> Self {
        Self::Error(error)
    }
}

impl From<&ParseError> for Response {
    fn from(error: &ParseError) -> Self {
        Self::Error(error.code())
    }
}
