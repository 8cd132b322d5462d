//! What can be wrong with the bytes of a message.

use crate::response::ErrorCode;

/// Why bytes are not a message.
///
/// An error from [`Request::parse`](crate::Request::parse) or
/// [`Command::parse`](crate::Command::parse) is the driver's (the guest's)
/// fault, one from [`Response::parse`](crate::Response::parse) the device's.
/// The same bytes fail the same way again: a retry can't help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than the header or the fixed part of the message needs.
    #[error("{what} needs {need} bytes, got {have}")]
    TooShort {
        /// The structure that did not fit.
        what: &'static str,
        /// Its size in bytes.
        need: usize,
        /// Bytes that were there.
        have: usize,
    },
    /// The header's type is no command.
    #[error("unknown command type {kind:#06x}")]
    UnknownCommand {
        /// The type as sent.
        kind: u32,
    },
    /// The header's type is no response.
    #[error("unknown response type {kind:#06x}")]
    UnknownResponse {
        /// The type as sent.
        kind: u32,
    },
    /// More memory entries announced than bytes to hold them.
    #[error("{count} memory entries announced, {room} present")]
    TooManyEntries {
        /// Announced entries.
        count: u32,
        /// Whole entries present.
        room: usize,
    },
    /// A 3D command stream longer than the bytes that follow.
    #[error("3D stream of {size} bytes announced, {have} present")]
    StreamTooShort {
        /// Announced bytes.
        size: u32,
        /// Bytes present.
        have: usize,
    },
    /// A context name longer than its field.
    #[error("context name of {len} bytes, at most {max} fit")]
    NameTooLong {
        /// Announced bytes.
        len: usize,
        /// Size of the field.
        max: usize,
    },
    /// An EDID longer than its field.
    #[error("EDID of {len} bytes, at most {max} fit")]
    EdidTooLong {
        /// Announced bytes.
        len: usize,
        /// Size of the field.
        max: usize,
    },
    /// A pixel format outside `enum virtio_gpu_formats`.
    #[error("unknown pixel format {value}")]
    UnknownFormat {
        /// The format as sent.
        value: u32,
    },
    /// A blob memory type other than guest, host3d or host3d_guest.
    #[error("unknown blob memory type {value}")]
    UnknownBlobMem {
        /// The type as sent.
        value: u32,
    },
    /// Blob flags outside those of the specification.
    #[error("unknown blob flags {unknown:#x}")]
    UnknownBlobFlags {
        /// The bits that mean nothing.
        unknown: u32,
    },
    /// A `map_info` other than the four caching types.
    #[error("unknown map info {value:#x}")]
    UnknownMapInfo {
        /// The value as sent.
        value: u32,
    },
}

impl ParseError {
    /// The error that a device answers with.
    ///
    /// A message of unknown type is answered with [`ErrorCode::Unspecified`],
    /// one with bad contents with [`ErrorCode::InvalidParameter`].
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownCommand { .. } | Self::UnknownResponse { .. } => ErrorCode::Unspecified,
            Self::TooShort { .. }
            | Self::TooManyEntries { .. }
            | Self::StreamTooShort { .. }
            | Self::NameTooLong { .. }
            | Self::EdidTooLong { .. }
            | Self::UnknownFormat { .. }
            | Self::UnknownBlobMem { .. }
            | Self::UnknownBlobFlags { .. }
            | Self::UnknownMapInfo { .. } => ErrorCode::InvalidParameter,
        }
    }
}
