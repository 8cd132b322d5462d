//! Pixel formats, and what the rest of the system calls them.
//!
//! Virtio 1.3, section 5.7.6.8, `enum virtio_gpu_formats`. Virtio names a
//! format by its bytes in memory, first byte first; DRM names one by the bits
//! of a little-endian word, highest first. Hence B8G8R8A8 is DRM's ARGB8888,
//! as in `virtio_gpu_translate_format` of the Linux driver, which uses the
//! first four formats, on little- and big-endian machines.

use std::fmt;

use crate::ParseError;

/// A DRM format code: four characters in a little-endian word
/// (`include/uapi/drm/drm_fourcc.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fourcc(pub u32);

impl Fourcc {
    /// The code of four ASCII characters.
    #[must_use]
    pub const fn new(characters: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(characters))
    }
}

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_le_bytes().escape_ascii())
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fourcc({self})")
    }
}

/// A format of a 2D resource or a blob scanout: always four bytes per pixel,
/// one byte per channel. The variants name the bytes in memory order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Format {
    /// Blue, green, red, alpha.
    B8G8R8A8 = 1,
    /// Blue, green, red, unused.
    B8G8R8X8 = 2,
    /// Alpha, red, green, blue.
    A8R8G8B8 = 3,
    /// Unused, red, green, blue.
    X8R8G8B8 = 4,
    /// Red, green, blue, alpha.
    R8G8B8A8 = 67,
    /// Unused, blue, green, red.
    X8B8G8R8 = 68,
    /// Alpha, blue, green, red.
    A8B8G8R8 = 121,
    /// Red, green, blue, unused.
    R8G8B8X8 = 134,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 8] = [
        Self::B8G8R8A8,
        Self::B8G8R8X8,
        Self::A8R8G8B8,
        Self::X8R8G8B8,
        Self::R8G8B8A8,
        Self::X8B8G8R8,
        Self::A8B8G8R8,
        Self::R8G8B8X8,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Bytes per pixel.
    #[must_use]
    pub const fn bytes_per_pixel(self) -> u32 {
        4
    }

    /// What DRM calls the format.
    #[must_use]
    pub const fn fourcc(self) -> Fourcc {
        Fourcc::new(*match self {
            Self::B8G8R8A8 => b"AR24",
            Self::B8G8R8X8 => b"XR24",
            Self::A8R8G8B8 => b"BA24",
            Self::X8R8G8B8 => b"BX24",
            Self::R8G8B8A8 => b"AB24",
            Self::X8B8G8R8 => b"RX24",
            Self::A8B8G8R8 => b"RA24",
            Self::R8G8B8X8 => b"XB24",
        })
    }

    /// The format that DRM calls `fourcc`, if it is one of virtio's.
    #[must_use]
    pub fn from_fourcc(fourcc: Fourcc) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.fourcc() == fourcc)
    }

    /// Byte offsets of red, green and blue within a pixel.
    #[must_use]
    pub const fn rgb_offsets(self) -> [usize; 3] {
        match self {
            Self::B8G8R8A8 | Self::B8G8R8X8 => [2, 1, 0],
            Self::A8R8G8B8 | Self::X8R8G8B8 => [1, 2, 3],
            Self::R8G8B8A8 | Self::R8G8B8X8 => [0, 1, 2],
            Self::X8B8G8R8 | Self::A8B8G8R8 => [3, 2, 1],
        }
    }

    /// Byte offset of alpha within a pixel, for the formats that have it.
    #[must_use]
    pub const fn alpha_offset(self) -> Option<usize> {
        match self {
            Self::B8G8R8A8 | Self::R8G8B8A8 => Some(3),
            Self::A8R8G8B8 | Self::A8B8G8R8 => Some(0),
            Self::B8G8R8X8 | Self::X8R8G8B8 | Self::X8B8G8R8 | Self::R8G8B8X8 => None,
        }
    }
}

impl TryFrom<u32> for Format {
    type Error = ParseError;

    fn try_from(value: u32) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|format| format.code() == value)
            .ok_or(ParseError::UnknownFormat { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for format in Format::ALL {
            assert_eq!(Format::try_from(format.code()), Ok(format));
            assert_eq!(Format::from_fourcc(format.fourcc()), Some(format));
        }
    }

    #[test]
    fn unknown_codes_are_refused() {
        for value in [0, 5, 66, 69, 120, 122, 133, 135, u32::MAX] {
            assert_eq!(
                Format::try_from(value),
                Err(ParseError::UnknownFormat { value })
            );
        }
        assert_eq!(Format::from_fourcc(Fourcc::new(*b"NV12")), None);
    }

    /// The variant's name spells the bytes in memory; DRM's spells the word
    /// from its highest bits. Both must place every channel alike.
    #[test]
    fn names_agree_with_offsets_and_fourcc() {
        for format in Format::ALL {
            let name = format!("{format:?}").replace('8', "");
            let place = |channel| name.find(channel);
            assert_eq!(
                format.rgb_offsets().map(Some),
                ['R', 'G', 'B'].map(place),
                "{name}"
            );
            assert_eq!(format.alpha_offset(), place('A'), "{name}");

            let reversed: String = name.chars().rev().collect();
            let drm = match format.fourcc().to_string().as_str() {
                "AR24" => "ARGB",
                "XR24" => "XRGB",
                "BA24" => "BGRA",
                "BX24" => "BGRX",
                "AB24" => "ABGR",
                "XB24" => "XBGR",
                "RA24" => "RGBA",
                "RX24" => "RGBX",
                other => panic!("{other} is no 8-bit RGB format"),
            };
            assert_eq!(reversed, drm);
        }
    }
}
