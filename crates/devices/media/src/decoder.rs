//! A clip being played.

use std::sync::Arc;

use crate::clip::{Clip, Frame};
use crate::decode::decode_into;
use crate::error::Error;
use crate::layout::{Layout, PixelFormat};

/// Plays a clip, frame after frame and from the start again, into one buffer
/// after another of the same layout.
#[derive(Debug, Clone)]
pub struct Decoder {
    clip: Arc<Clip>,
    layout: Layout,
    next: usize,
    decoded: u64,
}

/// What one call of [`Decoder::decode_next`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Number of the frame in the clip, from 0.
    pub index: usize,
    /// Bytes written into the buffer, by the decoder itself: no copy.
    pub bytes: usize,
}

impl Decoder {
    /// Starts at the clip's first frame.
    ///
    /// # Errors
    /// None that a clip of allowed size can cause today; [`Layout::packed`]'s.
    pub fn new(clip: Arc<Clip>, format: PixelFormat) -> Result<Self, Error> {
        let layout = Layout::packed(clip.width(), clip.height(), format)?;
        Ok(Self {
            clip,
            layout,
            next: 0,
            decoded: 0,
        })
    }

    /// The clip that is played.
    #[must_use]
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// How a buffer for this decoder has to be laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The frame that [`Decoder::decode_next`] decodes next.
    #[must_use]
    pub fn next_frame(&self) -> Frame<'_> {
        self.clip
            .frame(self.next)
            .expect("next is always within the clip")
    }

    /// Frames decoded so far, over all rounds.
    #[must_use]
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Goes on at another frame, modulo the clip's length.
    pub fn seek(&mut self, index: usize) {
        self.next = index % self.clip.len();
    }

    /// Decodes the next frame into `target`, laid out as
    /// [`Decoder::layout`] says. After an error the same frame comes again, so
    /// that a caller can offer a better buffer; [`Decoder::seek`] skips it.
    ///
    /// # Errors
    /// What [`decode_into`] returns.
    pub fn decode_next(&mut self, target: &mut [u8]) -> Result<Decoded, Error> {
        let index = self.next;
        decode_into(&self.next_frame(), target, &self.layout)?;
        self.seek(index + 1);
        self.decoded += 1;
        Ok(Decoded {
            index,
            bytes: self.layout.byte_len()?,
        })
    }
}
