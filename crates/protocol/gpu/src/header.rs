//! The header that every command and response starts with.
//!
//! Virtio 1.3, section 5.7.6.7; `struct virtio_gpu_ctrl_hdr`.

use bitflags::bitflags;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;
use crate::body;

/// Bytes of the header on the wire.
pub const HEADER_SIZE: usize = size_of::<ControlHeaderWire>();

bitflags! {
    /// Flags of a header. Unknown bits are kept as received.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct HeaderFlags: u32 {
        /// The answer is due when the command has completed, and carries the
        /// command's fence id.
        const FENCE = 1 << 0;
        /// The fence belongs to the timeline `ring_idx` of the context.
        const INFO_RING_IDX = 1 << 1;
        const _ = !0;
    }
}

/// A header without its type, which [`Command`](crate::Command) and
/// [`Response`](crate::Response) carry.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ControlHeader {
    /// Which of the other fields mean something.
    pub flags: HeaderFlags,
    /// Fence to signal, when [`HeaderFlags::FENCE`] is set.
    pub fence_id: u64,
    /// 3D context that the command works in; 0 where it needs none.
    pub ctx_id: u32,
    /// Timeline within the context, when [`HeaderFlags::INFO_RING_IDX`] is set.
    pub ring_idx: u8,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ControlHeaderWire {
    kind: U32,
    flags: U32,
    fence_id: U64,
    ctx_id: U32,
    ring_idx: u8,
    padding: [u8; 3],
}

impl ControlHeader {
    /// A header for context `ctx_id`, without a fence.
    #[must_use]
    pub fn in_context(ctx_id: u32) -> Self {
        Self {
            ctx_id,
            ..Self::default()
        }
    }

    /// This header with a fence to signal.
    #[must_use]
    pub fn with_fence(mut self, fence_id: u64) -> Self {
        self.flags |= HeaderFlags::FENCE;
        self.fence_id = fence_id;
        self
    }

    /// This header with its fence on timeline `ring_idx` of its context.
    #[must_use]
    pub fn with_ring(mut self, ring_idx: u8) -> Self {
        self.flags |= HeaderFlags::INFO_RING_IDX;
        self.ring_idx = ring_idx;
        self
    }

    /// The fence to signal, if the sender asked for one.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.flags
            .contains(HeaderFlags::FENCE)
            .then_some(self.fence_id)
    }

    /// The timeline within the context, if the sender named one.
    #[must_use]
    pub fn ring(&self) -> Option<u8> {
        self.flags
            .contains(HeaderFlags::INFO_RING_IDX)
            .then_some(self.ring_idx)
    }

    /// The header of the answer to a command with this header: the fence, its
    /// context and its timeline are echoed; without a fence all is zero.
    #[must_use]
    pub fn reply(&self) -> Self {
        if self.fence().is_none() {
            return Self::default();
        }
        Self {
            flags: self.flags & (HeaderFlags::FENCE | HeaderFlags::INFO_RING_IDX),
            fence_id: self.fence_id,
            ctx_id: self.ctx_id,
            ring_idx: self.ring().unwrap_or(0),
        }
    }

    /// Splits a message into its type, its header and its body.
    ///
    /// This works for any 24 bytes, so that a message with a bad body can
    /// still be answered.
    ///
    /// # Errors
    /// [`ParseError::TooShort`] below [`HEADER_SIZE`] bytes.
    pub fn split(bytes: &[u8]) -> Result<(u32, Self, &[u8]), ParseError> {
        let (wire, body) = body::take::<ControlHeaderWire>(bytes, "virtio_gpu_ctrl_hdr")?;
        let header = Self {
            flags: HeaderFlags::from_bits_retain(wire.flags.get()),
            fence_id: wire.fence_id.get(),
            ctx_id: wire.ctx_id.get(),
            ring_idx: wire.ring_idx,
        };
        Ok((wire.kind.get(), header, body))
    }

    /// Starts a message of type `kind`, with room for `body` further bytes.
    pub(crate) fn start(&self, kind: u32, body: usize) -> Vec<u8> {
        let wire = ControlHeaderWire {
            kind: kind.into(),
            flags: self.flags.bits().into(),
            fence_id: self.fence_id.into(),
            ctx_id: self.ctx_id.into(),
            ring_idx: self.ring_idx,
            padding: [0; 3],
        };
        let mut out = Vec::with_capacity(HEADER_SIZE + body);
        out.extend_from_slice(wire.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_echoes_fence_and_ring() {
        let request = ControlHeader::in_context(7).with_fence(9).with_ring(3);
        assert_eq!(request.reply(), request);
    }

    #[test]
    fn reply_without_fence_is_blank() {
        let request = ControlHeader::in_context(7).with_ring(3);
        assert_eq!(request.reply(), ControlHeader::default());
    }

    #[test]
    fn reply_drops_what_was_not_announced() {
        let mut request = ControlHeader::in_context(1).with_fence(2);
        request.ring_idx = 5;
        request.flags |= HeaderFlags::from_bits_retain(1 << 30);
        let reply = request.reply();
        assert_eq!(reply.ring_idx, 0);
        assert_eq!(reply.flags, HeaderFlags::FENCE);
    }

    #[test]
    fn split_needs_the_whole_header() {
        for have in 0..HEADER_SIZE {
            let error = ControlHeader::split(&vec![0xff; have]).unwrap_err();
            assert_eq!(
                error,
                ParseError::TooShort {
                    what: "virtio_gpu_ctrl_hdr",
                    need: 24,
                    have
                }
            );
        }
    }

    #[test]
    fn unknown_flags_survive() {
        let header = ControlHeader {
            flags: HeaderFlags::from_bits_retain(0xdead_beef),
            ..ControlHeader::default()
        };
        let bytes = header.start(1, 0);
        assert_eq!(ControlHeader::split(&bytes).unwrap().1, header);
    }
}
