//! Every command a driver can send, and the table that parses them.
//!
//! Virtio 1.3, section 5.7.6.7; `enum virtio_gpu_ctrl_type`. The bodies are in
//! the module of their family.

use crate::blob::{ResourceCreateBlob, ResourceMapBlob, SetScanoutBlob};
use crate::body::{self, Body};
use crate::capset::{GetCapset, GetCapsetInfo};
use crate::context::CtxCreate;
use crate::cursor::Cursor;
use crate::edid::GetEdid;
use crate::memory::ResourceAttachBacking;
use crate::threed::{ResourceCreate3d, Submit3d, Transfer3d};
use crate::twod::{ResourceCreate2d, ResourceFlush, ResourceRef, SetScanout, TransferToHost2d};
use crate::{ControlHeader, ParseError};

/// One row per command: its type on the wire, its name, and its body if any.
macro_rules! commands {
    ($( #[doc = $doc:literal] $code:literal $name:ident $( ($body:ident: $type:ty) )?; )*) => {
        /// The type of a command.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum CommandKind {
            $( #[doc = $doc] $name = $code, )*
        }

        impl CommandKind {
            /// Every type.
            pub const ALL: &[Self] = &[$( Self::$name ),*];
        }

        impl TryFrom<u32> for CommandKind {
            type Error = ParseError;

            fn try_from(kind: u32) -> Result<Self, ParseError> {
                match kind {
                    $( $code => Ok(Self::$name), )*
                    _ => Err(ParseError::UnknownCommand { kind }),
                }
            }
        }

        /// A command without its header.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Command<'a> {
            $( #[doc = $doc] $name $( ($type) )?, )*
        }

        impl<'a> Command<'a> {
            /// The command's type.
            #[must_use]
            pub fn kind(&self) -> CommandKind {
                match self {
                    $( Self::$name $( (commands!(@ignore $body)) )? => CommandKind::$name, )*
                }
            }

            fn parse_body(kind: CommandKind, bytes: &'a [u8]) -> Result<Self, ParseError> {
                Ok(match kind {
                    $( CommandKind::$name => Self::$name $( (body::parse::<$type>(bytes)?) )?, )*
                })
            }

            fn push_body(&self, out: &mut Vec<u8>) {
                match self {
                    $( Self::$name $( ($body) )? => { $( body::push($body, out); )? } )*
                }
            }

            fn body_len(&self) -> usize {
                match self {
                    $( Self::$name $( ($body) )? => 0 $( + encoded_len($body) )?, )*
                }
            }
        }
    };
    (@ignore $body:ident) => { _ };
}

commands! {
    /// Asks for the size and state of every scanout.
    0x0100 GetDisplayInfo;
    /// Creates a 2D resource.
    0x0101 ResourceCreate2d(create: ResourceCreate2d);
    /// Destroys a resource of any kind.
    0x0102 ResourceUnref(resource: ResourceRef);
    /// Shows a resource on a scanout.
    0x0103 SetScanout(scanout: SetScanout);
    /// Shows a resource's changes.
    0x0104 ResourceFlush(flush: ResourceFlush);
    /// Copies from the guest's backing into a 2D resource.
    0x0105 TransferToHost2d(transfer: TransferToHost2d);
    /// Gives a resource its guest memory.
    0x0106 ResourceAttachBacking(backing: ResourceAttachBacking<'a>);
    /// Takes a resource's guest memory away.
    0x0107 ResourceDetachBacking(resource: ResourceRef);
    /// Asks which capset is at an index.
    0x0108 GetCapsetInfo(info: GetCapsetInfo);
    /// Asks for a capset's contents.
    0x0109 GetCapset(capset: GetCapset);
    /// Asks for the EDID of a scanout.
    0x010a GetEdid(edid: GetEdid);
    /// Asks for the UUID of a resource, which gets one if it had none.
    0x010b ResourceAssignUuid(resource: ResourceRef);
    /// Creates a blob.
    0x010c ResourceCreateBlob(create: ResourceCreateBlob<'a>);
    /// Shows a blob on a scanout.
    0x010d SetScanoutBlob(scanout: SetScanoutBlob);
    /// Creates the context named in the header.
    0x0200 CtxCreate(create: CtxCreate);
    /// Destroys the context named in the header.
    0x0201 CtxDestroy;
    /// Makes a resource usable in the context named in the header.
    0x0202 CtxAttachResource(resource: ResourceRef);
    /// Undoes that.
    0x0203 CtxDetachResource(resource: ResourceRef);
    /// Creates a 3D resource.
    0x0204 ResourceCreate3d(create: ResourceCreate3d);
    /// Copies from the guest's backing into a 3D resource.
    0x0205 TransferToHost3d(transfer: Transfer3d);
    /// Copies from a 3D resource into the guest's backing.
    0x0206 TransferFromHost3d(transfer: Transfer3d);
    /// Runs a command stream in the context named in the header.
    0x0207 Submit3d(submit: Submit3d<'a>);
    /// Maps a blob into the host-visible window.
    0x0208 ResourceMapBlob(map: ResourceMapBlob);
    /// Unmaps it.
    0x0209 ResourceUnmapBlob(resource: ResourceRef);
    /// Gives the cursor a shape and a place.
    0x0300 UpdateCursor(cursor: Cursor);
    /// Moves the cursor.
    0x0301 MoveCursor(cursor: Cursor);
}

impl CommandKind {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Whether the command belongs on the cursor queue, all others on the
    /// control queue.
    #[must_use]
    pub const fn is_cursor(self) -> bool {
        matches!(self, Self::UpdateCursor | Self::MoveCursor)
    }
}

impl<'a> Command<'a> {
    /// Parses a command with its header, which is dropped;
    /// see [`Request::parse`] to keep it. Lists and streams are borrowed.
    ///
    /// # Errors
    /// What the driver got wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (kind, _, body) = ControlHeader::split(bytes)?;
        Self::parse_body(kind.try_into()?, body)
    }

    /// The command as bytes, after `header`.
    #[must_use]
    pub fn encode(&self, header: &ControlHeader) -> Vec<u8> {
        let mut out = header.start(self.kind().code(), self.body_len());
        self.push_body(&mut out);
        out
    }
}

fn encoded_len<'a, B: Body<'a>>(body: &B) -> usize {
    size_of::<B::Wire>() + body.tail().len()
}

/// A command and the header that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Fence, context and timeline.
    pub header: ControlHeader,
    /// What to do.
    pub command: Command<'a>,
}

/// Bytes that are no command, with the header to answer them by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed request")]
pub struct BadRequest {
    /// The header as sent; blank if not even that was there.
    pub header: ControlHeader,
    /// What the driver got wrong.
    #[source]
    pub error: ParseError,
}

impl<'a> Request<'a> {
    /// Parses a command with its header. Lists and streams are borrowed.
    ///
    /// # Errors
    /// What the driver got wrong, and the header to answer it by.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadRequest> {
        let (kind, header, body) = ControlHeader::split(bytes).map_err(|error| BadRequest {
            header: ControlHeader::default(),
            error,
        })?;
        CommandKind::try_from(kind)
            .and_then(|kind| Command::parse_body(kind, body))
            .map(|command| Self { header, command })
            .map_err(|error| BadRequest { header, error })
    }

    /// The request as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.command.encode(&self.header)
    }
}
