//! A console as its user sees it: text in a picture. The picture is read back
//! with the console's own font, so that a test can say what stands there.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use crate::desk::Shot;
use crate::sys::console::{GLYPH_ROWS, RawFont, font};

/// A virtual console.
#[derive(Debug)]
pub struct Console {
    file: File,
}

impl Console {
    /// Opens the console at `path`, "/dev/tty1".
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file })
    }

    /// Writes text, control sequences included.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write(&self, text: &str) -> io::Result<()> {
        (&self.file).write_all(text.as_bytes())
    }

    /// The font that it shows its text in.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn font(&self) -> io::Result<Font> {
        Ok(Font::of(&font(&self.file)?))
    }
}

/// The shapes of printable ASCII.
#[derive(Debug, Clone)]
pub struct Font {
    width: usize,
    height: usize,
    characters: HashMap<Vec<bool>, char>,
}

impl Font {
    fn of(raw: &RawFont) -> Self {
        let (width, height) = (raw.width as usize, raw.height as usize);
        let bytes = width.div_ceil(8);
        let glyphs = raw.rows.chunks_exact(GLYPH_ROWS * bytes).enumerate();
        let shapes = glyphs.filter_map(|(index, glyph)| {
            let character = char::from(u8::try_from(index).ok()?);
            let rows = glyph.chunks_exact(bytes).take(height);
            let pixel = |row: &[u8], x: usize| row[x / 8] & (0x80 >> (x % 8)) != 0;
            let pixels = rows.flat_map(|row| (0..width).map(move |x| pixel(row, x)));
            (' '..='~')
                .contains(&character)
                .then(|| (pixels.collect(), character))
        });
        Self {
            width,
            height,
            characters: shapes.collect(),
        }
    }

    /// Width and height of a character in pixels.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The lines of text in a picture: what is not black is ink. A shape that
    /// is no printable ASCII reads as U+FFFD. Trailing blanks are left out.
    #[must_use]
    pub fn read(&self, shot: &Shot) -> Vec<String> {
        let (wide, high) = (shot.size.0 as usize, shot.size.1 as usize);
        let ink = |x: usize, y: usize| {
            let at = (y * wide + x) * 3;
            shot.rgb[at..at + 3] != [0, 0, 0]
        };
        let character = |row: usize, column: usize| {
            let pixels = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
            let shape: Vec<bool> = pixels
                .map(|(x, y)| ink(column * self.width + x, row * self.height + y))
                .collect();
            self.characters.get(&shape).copied().unwrap_or('\u{fffd}')
        };
        (0..high / self.height)
            .map(|row| {
                let columns = 0..wide / self.width;
                let line: String = columns.map(|column| character(row, column)).collect();
                line.trim_end().to_owned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A font whose glyphs have the bits of their number in each row.
    fn made() -> RawFont {
        let glyph = |number: u8| [number; GLYPH_ROWS];
        RawFont {
            width: 8,
            height: 4,
            rows: (0..=255).flat_map(glyph).collect(),
        }
    }

    fn shot(text: &[&[u8]]) -> Shot {
        let (wide, high) = (text[0].len() * 8, text.len() * 4);
        let pixel = |x: usize, y: usize| text[y / 4][x / 8] & (0x80 >> (x % 8)) != 0;
        let color = |on| if on { [170, 170, 170] } else { [0, 0, 0] };
        let rgb = (0..high).flat_map(|y| (0..wide).flat_map(move |x| color(pixel(x, y))));
        Shot {
            size: (wide as u32, high as u32),
            rgb: rgb.collect(),
        }
    }

    #[test]
    fn text_is_read_back_from_pixels() {
        let font = Font::of(&made());
        let mut picture = shot(&[b"Hi ~", b"a\x01b\x80"]);
        // A glyph of number 0 would be blank, as that of ' ' is in real fonts.
        let read = font.read(&picture);
        assert_eq!(read, ["Hi ~", "a\u{fffd}b\u{fffd}"]);
        let at = picture.rgb.iter().position(|byte| *byte != 0).unwrap_or(0);
        picture.rgb[at..at + 3].fill(0);
        assert_ne!(font.read(&picture)[0], "Hi ~");
    }
}
