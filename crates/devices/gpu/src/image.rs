//! A picture in a buffer, read in place.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use landbridge_exchange::importers::CpuAccess;
use landbridge_exchange::importers::scanout::{Failing, ScanoutImport};
use landbridge_exchange::{Buffer, Error as ExchangeError, Tenant};
use landbridge_protocol_gpu::{Format, Rect};

use crate::error::Error;

/// How a picture lies in a buffer.
///
/// # Invariants
/// Neither side is 0, a row's pixels fit its stride, and the last row ends
/// within the buffer that the layout was checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    width: u32,
    height: u32,
    stride: u32,
    offset: u64,
    format: Format,
}

impl Layout {
    /// A picture of `width` by `height` pixels whose rows are `stride` bytes
    /// apart from byte `offset` on, in a buffer of `size` bytes.
    pub(crate) fn new(
        (width, height): (u32, u32),
        stride: u32,
        offset: u64,
        format: Format,
        size: u64,
    ) -> Result<Self, Error> {
        let row = u64::from(width) * u64::from(format.bytes_per_pixel());
        for (what, value, good) in [
            ("a picture's width", width, width > 0),
            ("a picture's height", height, height > 0),
            ("a picture's stride", stride, u64::from(stride) >= row),
        ] {
            if !good {
                return Err(Error::Field {
                    what,
                    value: value.into(),
                });
            }
        }
        let end = (u64::from(height) - 1)
            .checked_mul(stride.into())
            .and_then(|rows| rows.checked_add(row))
            .and_then(|bytes| bytes.checked_add(offset));
        if end.is_none_or(|end| end > size) {
            return Err(Error::Outside {
                what: "the picture",
                within: size,
            });
        }
        Ok(Self {
            width,
            height,
            stride,
            offset,
            format,
        })
    }

    /// The part of the picture in `rect`, which must not be empty.
    pub(crate) fn crop(&self, rect: Rect) -> Result<Self, Error> {
        check_rect(rect, self.width, self.height)?;
        let pixel = u64::from(self.format.bytes_per_pixel());
        Ok(Self {
            width: rect.width,
            height: rect.height,
            offset: self.offset
                + u64::from(rect.y) * u64::from(self.stride)
                + u64::from(rect.x) * pixel,
            ..*self
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bytes from row to row.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Where the first pixel is, in bytes from the buffer's beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The pixels' format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of a row's pixels.
    pub fn row_bytes(&self) -> usize {
        self.width as usize * self.format.bytes_per_pixel() as usize
    }
}

/// Refuses a rectangle that is empty, wraps or leaves the picture.
pub(crate) fn check_rect(rect: Rect, width: u32, height: u32) -> Result<(), Error> {
    if rect.width == 0 || rect.height == 0 || !rect.fits(width, height) {
        return Err(Error::Rectangle { width, height });
    }
    Ok(())
}

/// A picture that a guest shows, in the guest's or the host's own memory.
///
/// Clones are the same picture. Whoever keeps one keeps the buffer alive,
/// mapped and charged, and a decoder can't take it meanwhile.
#[derive(Clone)]
pub struct Image {
    import: Arc<ScanoutImport>,
    layout: Layout,
}

impl Image {
    /// Attaches the buffer to a scanout.
    pub(crate) fn attach(
        buffer: &Buffer,
        layout: Layout,
        scanout: u32,
        failing: Failing,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        Ok(Self {
            import: Arc::new(ScanoutImport::attach_as(buffer, scanout, failing, tenant)?),
            layout,
        })
    }

    /// Another picture in the buffer that is attached already.
    pub(crate) fn with_layout(&self, layout: Layout) -> Self {
        Self {
            import: Arc::clone(&self.import),
            layout,
        }
    }

    /// How the picture lies in the buffer.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The buffer with the pixels: its identity, its UUID, its other users.
    pub fn buffer(&self) -> &Buffer {
        self.import.attachment().buffer()
    }

    /// Access to the pixels, after all who write them have ended; waits for
    /// them at most for `limit`. Writers that come later wait for the access.
    pub fn read(&self, limit: Duration) -> Result<ImageAccess<'_>, ExchangeError> {
        Ok(ImageAccess {
            access: self.import.read(limit)?,
            layout: self.layout,
        })
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("layout", &self.layout)
            .field("buffer", self.buffer())
            .finish()
    }
}

/// Access to a picture's pixels.
pub struct ImageAccess<'a> {
    access: CpuAccess<'a>,
    layout: Layout,
}

impl ImageAccess<'_> {
    /// Reads row `y` into `row`, which has [`Layout::row_bytes`] bytes.
    ///
    /// # Panics
    /// When `row` has another size or the picture has no row `y`.
    pub fn row(&self, y: u32, row: &mut [u8]) -> Result<(), ExchangeError> {
        assert_eq!(row.len(), self.layout.row_bytes(), "a row's bytes");
        assert!(y < self.layout.height, "a row of the picture");
        let offset = self.layout.offset + u64::from(y) * u64::from(self.layout.stride);
        // By the layout's invariants this lies within the mapping.
        self.access.view().copy_to(offset as usize, row)?;
        Ok(())
    }

    /// The whole picture as red, green, blue and alpha, a byte each, rows
    /// packed. Formats without alpha are opaque.
    pub fn to_rgba(&self) -> Result<Vec<u8>, ExchangeError> {
        let [red, green, blue] = self.layout.format.rgb_offsets();
        let alpha = self.layout.format.alpha_offset();
        let mut row = vec![0; self.layout.row_bytes()];
        let mut pixels = Vec::with_capacity(row.len() * self.layout.height as usize);
        for y in 0..self.layout.height {
            self.row(y, &mut row)?;
            for pixel in row.chunks_exact(4) {
                let alpha = alpha.map_or(u8::MAX, |offset| pixel[offset]);
                pixels.extend([pixel[red], pixel[green], pixel[blue], alpha]);
            }
        }
        Ok(pixels)
    }

    /// Ends the access.
    pub fn end(self) -> Result<(), ExchangeError> {
        self.access.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMAT: Format = Format::B8G8R8X8;

    #[test]
    fn a_layout_may_end_exactly_with_the_buffer() {
        assert!(Layout::new((4, 3), 20, 8, FORMAT, 8 + 2 * 20 + 16).is_ok());
        assert!(Layout::new((4, 3), 20, 8, FORMAT, 8 + 2 * 20 + 15).is_err());
    }

    #[test]
    fn empty_pictures_and_short_strides_are_refused() {
        for (size, stride) in [
            ((0, 1), 4),
            ((1, 0), 4),
            ((1, 1), 3),
            ((2, 1), 4),
            ((1, 1), 0),
        ] {
            let error = Layout::new(size, stride, 0, FORMAT, 4096).unwrap_err();
            assert!(matches!(error, Error::Field { .. }), "{error}");
        }
    }

    #[test]
    fn nothing_wraps() {
        let most = u32::MAX;
        assert!(Layout::new((1, most), most, u64::MAX, FORMAT, u64::MAX).is_err());
        assert!(Layout::new((most, most), most, 0, FORMAT, u64::MAX).is_err());
    }

    proptest! {
        #[test]
        fn a_crop_stays_within_its_picture(
            width in 1u32..64, height in 1u32..64, slack in 0u32..9, offset in 0u64..99,
            x in 0u32..70, y in 0u32..70, w in 0u32..70, h in 0u32..70,
        ) {
            let stride = width * 4 + slack;
            let end = |layout: &Layout| layout.offset
                + u64::from(layout.height - 1) * u64::from(layout.stride)
                + layout.row_bytes() as u64;
            let whole = Layout::new((width, height), stride, offset, FORMAT, u64::MAX).unwrap();
            let rect = Rect { x, y, width: w, height: h };
            match whole.crop(rect) {
                Ok(part) => {
                    prop_assert!(part.offset >= whole.offset && end(&part) <= end(&whole));
                    prop_assert!(x + w <= width && y + h <= height && w > 0 && h > 0);
                }
                Err(_) => prop_assert!(x + w > width || y + h > height || w == 0 || h == 0),
            }
        }
    }
}
