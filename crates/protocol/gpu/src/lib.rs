//! What a virtio-gpu driver and device say to each other, as Rust types.
//!
//! Layouts and numbers follow the [virtio 1.3 specification], section 5.7 ("GPU
//! Device"), and the kernel's [`virtio_gpu.h`]; the feature bit
//! `BLOB_ALIGNMENT` comes from virtio 1.4. This crate does no I/O and keeps no
//! state: bytes in, values out, and back again.
//!
//! A device reads a request out of the queue into its own memory and parses it:
//!
//! ```
//! use landbridge_protocol_gpu::{Command, ControlHeader, ErrorCode, Request, Response};
//!
//! # let request_bytes = Command::GetDisplayInfo.encode(&ControlHeader::default());
//! let reply = match Request::parse(&request_bytes) {
//!     Ok(Request { header, command: Command::GetDisplayInfo }) => {
//!         Response::OkNoData.encode(&header)
//!     }
//!     Ok(Request { header, .. }) => Response::Error(ErrorCode::Unspecified).encode(&header),
//!     Err(bad) => Response::Error(bad.error.code()).encode(&bad.header),
//! };
//! # assert_eq!(reply.len(), 24);
//! ```
//!
//! Parsing checks *syntax*: enough bytes, known codes, an entry count that the
//! bytes bear out. Whether a resource exists, an offset lies inside it, or a
//! feature was negotiated is for the device to say. Bytes past the end of a
//! command are ignored, and so is padding.
//!
//! [virtio 1.3 specification]: https://docs.oasis-open.org/virtio/virtio/v1.3/virtio-v1.3.html
//! [`virtio_gpu.h`]: https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/include/uapi/linux/virtio_gpu.h

#![forbid(unsafe_code)]

mod blob;
mod body;
mod capset;
mod command;
mod config;
mod context;
mod cursor;
mod edid;
mod error;
mod formats;
mod header;
mod memory;
mod response;
mod threed;
mod twod;
mod uuid;

pub use blob::{
    BlobFlags, BlobMem, MapCaching, ResourceCreateBlob, ResourceMapBlob, SetScanoutBlob,
};
pub use capset::{CapsetId, CapsetInfo, GetCapset, GetCapsetInfo};
pub use command::{BadRequest, Command, CommandKind, Request};
pub use config::{
    CONFIG_SIZE, CONFIG_SPACE_SIZE, CONTROL_QUEUE, CURSOR_QUEUE, Config, DEVICE_ID, Events,
    Features, MAX_SCANOUTS, NUM_QUEUES, SHM_ID_HOST_VISIBLE,
};
pub use context::{ContextInit, ContextName, CtxCreate};
pub use cursor::{Cursor, CursorPosition};
pub use edid::{EDID_MAX_SIZE, Edid, GetEdid};
pub use error::ParseError;
pub use formats::{Format, Fourcc};
pub use header::{ControlHeader, HEADER_SIZE, HeaderFlags};
pub use memory::{MemEntry, ResourceAttachBacking};
pub use response::{DisplayInfo, DisplayMode, ErrorCode, Response, ResponseKind};
pub use threed::{Box3d, Resource3dFlags, ResourceCreate3d, Submit3d, Transfer3d};
pub use twod::{Rect, ResourceCreate2d, ResourceFlush, ResourceRef, SetScanout, TransferToHost2d};
