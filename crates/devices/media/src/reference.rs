//! Is what lies in the buffer really the frame?
//!
//! The answer comes from another JPEG decoder, `jpeg-decoder`, which shares no
//! code with the one that fills the buffer.
//!
//! # Tolerance
//! T.81 fixes what the coded data means, but not how the cosine transform is
//! rounded, nor how missing chroma samples are interpolated, so two correct
//! decoders differ a little. A pixel is a *mismatch* when one of its channels
//! differs by more than [`tolerance`], or when its fourth byte is not 255:
//!
//! - 4 without vertical subsampling. When the transform is off by one step in
//!   luma and in chroma, blue, the worst channel, is off by 1 + 1.772, and
//!   rounding adds less than one more. Measured: 3.
//! - 8 with vertical subsampling, where chroma is interpolated between rows
//!   with roundings of its own. Measured: 5, on noise.
//! - 121 in the last row of a vertically subsampled picture whose height is
//!   not a multiple of 16. A coded but invisible row lies below it, and the two
//!   decoders disagree on whether that takes part in the interpolation, where
//!   it would count for a quarter. An encoder may put anything there, so blue
//!   can be off by 255 / 4 * 1.772, and 8 as above. Measured: 16 on photos, 64
//!   on noise.
//!
//! A marker drawn over the picture, a row at the wrong place, red and blue
//! exchanged, or the neighbouring frame of a panning shot differ by far more.
//! `tests/media/reference.rs` holds both sides of this.

use jpeg_decoder::PixelFormat as ReferenceFormat;

use crate::clip::{Frame, Header};
use crate::error::Error;
use crate::layout::{Layout, PixelFormat};

/// How a buffer compares with the reference decoder's picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Pixels compared: all of them.
    pub pixels: u64,
    /// Pixels that differ by more than the tolerance.
    pub mismatched_pixels: u64,
    /// The largest difference of any channel, tolerated or not: 0 to 255.
    pub max_difference: u8,
    /// The mean difference over all colour channels.
    pub mean_difference: f64,
    /// Column and row of the first mismatch, reading like text.
    pub first_mismatch: Option<(u32, u32)>,
    /// The tolerance that was applied, but for the last row perhaps.
    pub tolerance: u8,
}

/// The largest difference of a channel, in steps of 255, that two correct
/// decoders may show in this row of a frame.
#[must_use]
pub fn tolerance(header: Header, row: u32) -> u8 {
    let height = u32::from(header.height);
    let subsampled = header.sampling.vertical > 1;
    if subsampled && row + 1 == height && !height.is_multiple_of(16) {
        LAST_ROW
    } else if subsampled {
        SUBSAMPLED
    } else {
        DIRECT
    }
}

const DIRECT: u8 = 4;
const SUBSAMPLED: u8 = 8;
const LAST_ROW: u8 = 121;

/// Decodes a frame with the reference decoder: 3 bytes a pixel (red, green,
/// blue), rows back to back.
///
/// # Errors
/// [`Error::Reference`] when that decoder rejects the frame.
pub fn decode(frame: &Frame<'_>) -> Result<Vec<u8>, Error> {
    let mut decoder = jpeg_decoder::Decoder::new(frame.bytes);
    let failed = |source| Error::Reference {
        frame: frame.index,
        offset: frame.offset,
        source,
    };
    let pixels = decoder.decode().map_err(failed)?;
    match decoder.info().map(|info| info.pixel_format) {
        Some(ReferenceFormat::RGB24) => Ok(pixels),
        Some(ReferenceFormat::L8) => Ok(pixels.iter().flat_map(|&grey| [grey; 3]).collect()),
        _ => Err(failed(jpeg_decoder::Error::Format(
            "the reference decoder made something else than RGB".into(),
        ))),
    }
}

/// Compares what `pixels` holds, laid out as `layout` says, with the frame.
/// Any stride is fine here.
///
/// # Errors
/// [`Error::SizeMismatch`], [`Error::ShortBuffer`] or [`Error::Stride`] when
/// the buffer can't hold the frame; [`Error::Reference`].
pub fn compare(frame: &Frame<'_>, pixels: &[u8], layout: &Layout) -> Result<Comparison, Error> {
    let size = (frame.header.width.into(), frame.header.height.into());
    if (layout.width, layout.height) != size {
        return Err(Error::SizeMismatch {
            buffer: (layout.width, layout.height),
            frame: size,
        });
    }
    let (len, needed) = (pixels.len(), layout.byte_len()?);
    if len < needed {
        return Err(Error::ShortBuffer { len, needed });
    }
    let expected = decode(frame)?;
    let mut tally = Tally::new(tolerance(frame.header, 0));
    let (width, bytes) = (layout.width as usize, PixelFormat::BYTES as usize);
    let rows = pixels.chunks(layout.stride as usize);
    for (y, (row, expected)) in (0..).zip(rows.zip(expected.chunks_exact(3 * width))) {
        tally.tolerance = tolerance(frame.header, y);
        let row = row.chunks_exact(bytes).zip(expected.chunks_exact(3));
        for (x, (pixel, expected)) in (0..).zip(row) {
            tally.pixel((x, y), pixel, expected, layout.format);
        }
    }
    Ok(tally.finish())
}

struct Tally {
    result: Comparison,
    /// The current row's.
    tolerance: u8,
    sum: u64,
}

impl Tally {
    fn new(tolerance: u8) -> Self {
        Self {
            result: Comparison {
                pixels: 0,
                mismatched_pixels: 0,
                max_difference: 0,
                mean_difference: 0.0,
                first_mismatch: None,
                tolerance,
            },
            tolerance,
            sum: 0,
        }
    }

    fn pixel(&mut self, at: (u32, u32), pixel: &[u8], expected: &[u8], format: PixelFormat) {
        let rgb = if format.blue_first() {
            [pixel[2], pixel[1], pixel[0]]
        } else {
            [pixel[0], pixel[1], pixel[2]]
        };
        let mut worst = 0;
        for (found, expected) in rgb.iter().zip(expected) {
            let difference = found.abs_diff(*expected);
            worst = worst.max(difference);
            self.sum += u64::from(difference);
        }
        let result = &mut self.result;
        result.pixels += 1;
        result.max_difference = result.max_difference.max(worst);
        if worst > self.tolerance || pixel[3] != 255 {
            result.mismatched_pixels += 1;
            result.first_mismatch.get_or_insert(at);
        }
    }

    fn finish(self) -> Comparison {
        let channels = (3 * self.result.pixels).max(1);
        Comparison {
            mean_difference: self.sum as f64 / channels as f64,
            ..self.result
        }
    }
}
