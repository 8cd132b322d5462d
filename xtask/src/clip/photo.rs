//! The photo, and what a camera sees of it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::camera::{ONE, View};

/// Red, green and blue bytes, rows back to back.
pub(super) struct Photo {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Photo {
    pub(super) fn from_png(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
        ensure!(
            reader.output_color_type() == (png::ColorType::Rgb, png::BitDepth::Eight),
            "the photo must be an RGB PNG of 8 bits a channel"
        );
        let len = reader
            .output_buffer_size()
            .context("the photo is too large")?;
        let mut rgb = vec![0; len];
        let info = reader.next_frame(&mut rgb)?;
        Ok(Self {
            width: info.width,
            height: info.height,
            rgb,
        })
    }

    pub(super) fn from_jpeg(jpeg: &[u8]) -> Result<Self> {
        let mut decoder = jpeg_decoder::Decoder::new(jpeg);
        let rgb = decoder.decode().context("decoding the photo")?;
        let info = decoder.info().context("the photo has no header")?;
        ensure!(
            info.pixel_format == jpeg_decoder::PixelFormat::RGB24,
            "the photo must be in colour"
        );
        Ok(Self {
            width: info.width.into(),
            height: info.height.into(),
            rgb,
        })
    }

    pub(super) fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>> {
        super::encode(
            &self.rgb,
            self.width.try_into()?,
            self.height.try_into()?,
            quality,
        )
    }

    pub(super) fn width(&self) -> u32 {
        self.width
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// What `view` shows, as `width` times `height` pixels, each mixed from the
    /// four nearest of the photo.
    pub(super) fn sample(&self, view: View, width: u16, height: u16) -> Vec<u8> {
        let columns = taps(view.left, view.width, width, self.width);
        let rows = taps(view.top, view.height, height, self.height);
        let mut rgb = Vec::with_capacity(3 * columns.len() * rows.len());
        for row in &rows {
            for column in &columns {
                let corner = |x, y| self.pixel(x, y);
                let (above, below) = (
                    [corner(column.low, row.low), corner(column.high, row.low)],
                    [corner(column.low, row.high), corner(column.high, row.high)],
                );
                for channel in 0..3 {
                    let mix = |pair: [&[u8]; 2]| {
                        let [near, far] = pair.map(|pixel| i64::from(pixel[channel]));
                        near * (ONE - column.weight) + far * column.weight
                    };
                    let mixed = mix(above) * (ONE - row.weight) + mix(below) * row.weight;
                    // A mean of bytes, rounded: a byte.
                    rgb.push(((mixed + ONE * ONE / 2) / (ONE * ONE)) as u8);
                }
            }
        }
        rgb
    }

    fn pixel(&self, x: u32, y: u32) -> &[u8] {
        let at = 3 * (y as usize * self.width as usize + x as usize);
        &self.rgb[at..at + 3]
    }
}

/// Which two pixels of the photo, in one direction, a pixel is mixed from, and
/// the share of the second.
struct Tap {
    low: u32,
    high: u32,
    weight: i64,
}

/// Spreads `count` pixel centres over `extent` from `start`.
fn taps(start: i64, extent: i64, count: u16, limit: u32) -> Vec<Tap> {
    let count = i64::from(count);
    let last = i64::from(limit) - 1;
    (0..count)
        .map(|index| {
            let centre = start + extent * (2 * index + 1) / (2 * count) - ONE / 2;
            let centre = centre.clamp(0, last * ONE);
            let low = centre / ONE;
            Tap {
                // Both are at most `last`, which came from a u32.
                low: low as u32,
                high: (low + 1).min(last) as u32,
                weight: centre % ONE,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_the_whole_at_full_size_is_the_photo() {
        let rgb: Vec<u8> = (0..4 * 3 * 3).map(|byte| byte * 7).collect();
        let photo = Photo {
            width: 4,
            height: 3,
            rgb,
        };
        let whole = View {
            left: 0,
            top: 0,
            width: 4 * ONE,
            height: 3 * ONE,
        };
        assert_eq!(photo.sample(whole, 4, 3), photo.rgb);
    }

    #[test]
    fn between_two_pixels_lies_their_mean() {
        let photo = Photo {
            width: 2,
            height: 1,
            rgb: vec![0, 10, 20, 100, 110, 121],
        };
        let middle = View {
            left: ONE / 2,
            top: 0,
            width: ONE,
            height: ONE,
        };
        assert_eq!(photo.sample(middle, 1, 1), [50, 60, 71]);
    }
}
