//! One frame into one buffer.
//!
//! # No frame-sized intermediate
//! `zune_jpeg::JpegDecoder::decode_into` (0.5.15) keeps one row of blocks (8
//! or 16 lines) per component and converts it into the caller's memory before
//! it reads the next, as long as the image is baseline and in one scan. Only
//! for progressive and multi-scan images does it keep a whole frame of
//! coefficients; [`Clip`](crate::clip::Clip) refuses those.
//!
//! # Stride
//! That function writes rows back to back and has no notion of stride. A
//! buffer with padding after its rows is refused ([`Error::Stride`]) rather
//! than served through a copy: whoever allocates for this decoder takes
//! [`Layout::packed`].
//!
//! # The fourth byte
//! It is always 255. The decoder writes every byte of the picture once and
//! reads none of them back, but for this: the last pixel's fourth byte is set
//! to 0 first and looked at in the end, because an image may stop early and
//! still pass for decoded.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::clip::{Frame, MAX_SIDE};
use crate::error::Error;
use crate::layout::{Layout, PixelFormat};

/// Decodes `frame` into the start of `target`.
///
/// On success, exactly `layout.byte_len()` bytes are written. On an error in
/// the frame, any part of them may be; bytes beyond are never touched. The
/// caller holds the buffer for CPU writing: nobody else may write it meanwhile.
///
/// # Errors
/// [`Error::SizeMismatch`], [`Error::Stride`] and [`Error::ShortBuffer`] when
/// the buffer doesn't suit, before anything is written;
/// [`Error::Undecodable`] and [`Error::Incomplete`] when the frame is damaged.
pub fn decode_into(frame: &Frame<'_>, target: &mut [u8], layout: &Layout) -> Result<(), Error> {
    let target = fit(frame, target, layout)?;
    // Frames have at least one pixel, so there is a last byte.
    let last = target.len() - 1;
    target[last] = 0;

    decode_packed(frame, target, layout.format).map_err(|source| Error::Undecodable {
        frame: frame.index,
        offset: frame.offset,
        source,
    })?;
    if target[last] != 255 {
        return Err(Error::Incomplete {
            frame: frame.index,
            offset: frame.offset,
        });
    }
    Ok(())
}

/// The part of the buffer that the frame fills.
fn fit<'t>(
    frame: &Frame<'_>,
    target: &'t mut [u8],
    layout: &Layout,
) -> Result<&'t mut [u8], Error> {
    let size = (frame.header.width.into(), frame.header.height.into());
    if (layout.width, layout.height) != size {
        return Err(Error::SizeMismatch {
            buffer: (layout.width, layout.height),
            frame: size,
        });
    }
    if !layout.is_packed() {
        return Err(Error::Stride {
            stride: layout.stride,
            packed: layout.width.saturating_mul(PixelFormat::BYTES),
            format: layout.format,
        });
    }
    let (len, needed) = (target.len(), layout.byte_len()?);
    target
        .get_mut(..needed)
        .ok_or(Error::ShortBuffer { len, needed })
}

fn decode_packed(
    frame: &Frame<'_>,
    target: &mut [u8],
    format: PixelFormat,
) -> Result<(), DecodeErrors> {
    // The decoder turns grey into RGBA only; with red, green and blue alike,
    // that is BGRA too.
    let output = if format.blue_first() && frame.header.components == 3 {
        ColorSpace::BGRA
    } else {
        ColorSpace::RGBA
    };
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(output)
        .set_max_width(MAX_SIDE.into())
        .set_max_height(MAX_SIDE.into())
        // Without it, damaged data is shown as grey and called a success.
        .set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(frame.bytes), options);
    decoder.decode_headers()?;
    // An application segment can name other colours (CMYK) for any number of
    // components.
    match decoder.input_colorspace() {
        Some(ColorSpace::YCbCr | ColorSpace::Luma) => decoder.decode_into(target),
        _ => Err(DecodeErrors::FormatStatic(
            "the colours are neither grey nor YCbCr",
        )),
    }
}
