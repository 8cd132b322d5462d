//! Pictures that can be told apart: every pixel depends on its place and on a
//! number.

use crate::sys::memory::Map;

/// A picture of 32-bit pixels (XRGB8888) without gaps between the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from row to row.
    pub pitch: u32,
    /// Which of many pictures.
    pub number: u32,
}

impl Picture {
    /// A picture whose rows follow each other.
    #[must_use]
    pub fn new(width: u32, height: u32, number: u32) -> Self {
        Self {
            width,
            height,
            pitch: width * 4,
            number,
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.pitch) * u64::from(self.height)
    }

    /// Red, green and blue at a place.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let mixed = (x ^ (y << 7))
            .wrapping_mul(0x9e37_79b1)
            .wrapping_add(self.number.wrapping_mul(0x85eb_ca6b));
        let [_, red, green, blue] = mixed.to_be_bytes();
        [red, green, blue]
    }

    /// Draws it.
    pub fn draw(&self, memory: &Map) {
        for y in 0..self.height {
            for x in 0..self.width {
                let [red, green, blue] = self.pixel(x, y);
                let at = y as usize * self.pitch as usize + x as usize * 4;
                for (byte, value) in [blue, green, red, 0].into_iter().enumerate() {
                    memory.set(at + byte, value);
                }
            }
        }
    }

    /// Red, green and blue of every pixel, row by row.
    #[must_use]
    pub fn rgb(&self) -> Vec<u8> {
        (0..self.height)
            .flat_map(|y| (0..self.width).flat_map(move |x| self.pixel(x, y)))
            .collect()
    }

    /// Where `rgb` differs first from this picture, in words.
    #[must_use]
    pub fn difference(&self, size: (u32, u32), rgb: &[u8]) -> Option<String> {
        if size != (self.width, self.height) {
            return Some(format!("{}x{} pixels", size.0, size.1));
        }
        let wanted = self.rgb();
        let pixels = || wanted.chunks_exact(3).zip(rgb.chunks_exact(3));
        let (at, (want, got)) = pixels().enumerate().find(|(_, (want, got))| want != got)?;
        let wrong = pixels().filter(|(want, got)| want != got).count();
        let (x, y) = (at as u32 % self.width, at as u32 / self.width);
        Some(format!(
            "{wrong} pixels differ, first {x},{y}: {got:?} for {want:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::Picture;

    #[test]
    fn pictures_differ_by_number_and_place() {
        let one = Picture::new(16, 8, 1);
        assert_eq!(one.difference((16, 8), &one.rgb()), None);
        let two = Picture { number: 2, ..one };
        assert!(one.difference((16, 8), &two.rgb()).is_some());
        let mut shifted = one.rgb();
        shifted.rotate_left(3);
        assert!(one.difference((16, 8), &shifted).is_some());
        assert!(one.difference((8, 16), &one.rgb()).is_some());
    }
}
