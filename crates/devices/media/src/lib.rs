//! The decoder: clips in, pixels straight into the caller's buffer out.
//!
//! - [`clip`] finds the frames of a Motion-JPEG file (AVI, or JPEG images one
//!   after another) and says, to the byte, what is wrong with a bad one.
//! - [`layout`] describes the buffer that a frame is decoded into.
//! - [`decode`] decodes one frame into such a buffer, with no frame-sized
//!   buffer in between.
//! - [`mod@reference`] decodes the same frame with another implementation and
//!   counts the pixels that disagree.
//! - [`queue`] decodes into exchange buffers that are named by UUID.

pub mod clip;
pub mod decode;
pub mod error;
pub mod layout;
pub mod queue;
pub mod reference;

pub use clip::{Clip, Container, Frame, FrameRate};
pub use decode::decode_into;
pub use error::{Defect, Error, Fault};
pub use layout::{Layout, PixelFormat};
pub use queue::{Codec, DecodeQueue, Queued, motion_jpeg};
pub use reference::{Comparison, compare};
