//! How pixels lie in a buffer.

use std::fmt;

use crate::error::Error;

/// Four bytes a pixel, named in the order in which they lie in memory, as
/// virtio-gpu names its formats. The decoder writes 255 to the fourth byte of
/// every pixel, whether it is alpha or padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// `VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM`; DRM calls it ARGB8888.
    B8g8r8a8,
    /// `VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM`; DRM calls it XRGB8888.
    B8g8r8x8,
    /// `VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM`; DRM calls it ABGR8888.
    R8g8b8a8,
    /// `VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM`; DRM calls it XBGR8888.
    R8g8b8x8,
}

impl PixelFormat {
    /// Bytes that a pixel takes.
    pub const BYTES: u32 = 4;

    /// Whether blue comes before red.
    #[must_use]
    pub fn blue_first(self) -> bool {
        matches!(self, Self::B8g8r8a8 | Self::B8g8r8x8)
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::B8g8r8a8 => "B8G8R8A8",
            Self::B8g8r8x8 => "B8G8R8X8",
            Self::R8g8b8a8 => "R8G8B8A8",
            Self::R8g8b8x8 => "R8G8B8X8",
        })
    }
}

/// Size, row distance and pixel format of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row's start to the next.
    pub stride: u32,
    /// What a pixel's bytes mean.
    pub format: PixelFormat,
}

impl Layout {
    /// Rows back to back, without padding: what the decoder can write.
    ///
    /// # Errors
    /// [`Error::Stride`] when a row would have more bytes than a `u32` counts.
    pub fn packed(width: u32, height: u32, format: PixelFormat) -> Result<Self, Error> {
        let stride = width.checked_mul(PixelFormat::BYTES).ok_or(Error::Stride {
            stride: u32::MAX,
            packed: u32::MAX,
            format,
        })?;
        Ok(Self {
            width,
            height,
            stride,
            format,
        })
    }

    /// Bytes from the first pixel to the last one's end; 0 for an empty
    /// picture.
    ///
    /// # Errors
    /// [`Error::Stride`] when rows would overlap; [`Error::ShortBuffer`] when
    /// no buffer can be that long.
    pub fn byte_len(&self) -> Result<usize, Error> {
        let row = u64::from(self.width) * u64::from(PixelFormat::BYTES);
        if u64::from(self.stride) < row {
            return Err(Error::Stride {
                stride: self.stride,
                packed: u32::try_from(row).unwrap_or(u32::MAX),
                format: self.format,
            });
        }
        if self.height == 0 {
            return Ok(0);
        }
        let len = u64::from(self.height - 1) * u64::from(self.stride) + row;
        usize::try_from(len).map_err(|_| Error::ShortBuffer {
            len: usize::MAX,
            needed: usize::MAX,
        })
    }

    /// Whether rows lie back to back.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        u64::from(self.stride) == u64::from(self.width) * u64::from(PixelFormat::BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_no_padding_after_the_last_row() {
        let mut layout = Layout::packed(10, 3, PixelFormat::B8g8r8x8).unwrap();
        assert_eq!(layout.byte_len().unwrap(), 120);
        assert!(layout.is_packed());
        layout.stride = 64;
        assert_eq!(layout.byte_len().unwrap(), 2 * 64 + 40);
        assert!(!layout.is_packed());
        layout.height = 0;
        assert_eq!(layout.byte_len().unwrap(), 0);
    }

    #[test]
    fn overlapping_rows_and_overflow_are_refused() {
        let mut layout = Layout::packed(10, 3, PixelFormat::B8g8r8x8).unwrap();
        layout.stride = 39;
        assert!(matches!(layout.byte_len(), Err(Error::Stride { .. })));
        assert!(Layout::packed(u32::MAX, 1, PixelFormat::R8g8b8a8).is_err());
    }
}
