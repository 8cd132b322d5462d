//! The outside of a JPEG image: where it ends, how large it is, and whether it
//! is coded in a way that can be decoded row by row.
//!
//! Follows ITU-T T.81, annex B. Segments are walked by their lengths; only the
//! entropy-coded data is searched, where `ff` is always followed by `00`, a
//! restart marker or the marker that ends the scan. Searching the whole file
//! for `ff d9` would stop inside a thumbnail.

use super::MAX_SIDE;
use crate::error::{At, Defect};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// What the frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// 1 for grey, 3 for YCbCr.
    pub components: u8,
    /// How many luma samples share a chroma sample.
    pub sampling: Sampling,
}

/// Horizontal and vertical luma samples per chroma sample, each 1 or 2:
/// 4:4:4 is 1x1, 4:2:2 is 2x1, 4:2:0 is 2x2. Grey is always 1x1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Across a row.
    pub horizontal: u8,
    /// Down the rows.
    pub vertical: u8,
}

/// A whole image within a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image {
    /// Offset of the byte after the image.
    pub(crate) end: usize,
    pub(crate) header: Header,
}

/// Walks the image that starts at `start`; `bytes` ends where the image must.
pub(crate) fn scan(bytes: &[u8], start: usize) -> Result<Image, At> {
    let mut walker = Walker { bytes, pos: start };
    walker.start()?;
    let header = walker.headers()?;
    walker.entropy_coded()?;
    match walker.marker()? {
        (_, EOI) => Ok(Image {
            end: walker.pos,
            header,
        }),
        (at, SOS) => Err(At::new(at, Defect::SeveralScans)),
        (at, marker) => Err(At::new(at, Defect::UnexpectedMarker(marker))),
    }
}

struct Walker<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Walker<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], At> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            return Err(At::new(self.bytes.len(), Defect::Truncated));
        };
        self.pos += len;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, At> {
        Ok(self.take(1)?[0])
    }

    fn start(&mut self) -> Result<(), At> {
        let at = self.pos;
        let found = [self.byte()?, self.byte()?];
        if found == [0xff, SOI] {
            Ok(())
        } else {
            Err(At::new(at, Defect::NotJpeg { found }))
        }
    }

    /// The next marker and where it starts. Any number of `ff` may precede it.
    fn marker(&mut self) -> Result<(usize, u8), At> {
        let at = self.pos;
        let first = self.byte()?;
        if first != 0xff {
            return Err(At::new(at, Defect::NoMarker(first)));
        }
        loop {
            match self.byte()? {
                0xff => {}
                marker => return Ok((at, marker)),
            }
        }
    }

    fn segment(&mut self, at: usize, marker: u8) -> Result<&'a [u8], At> {
        let length = self.take(2)?;
        let length = u16::from_be_bytes([length[0], length[1]]);
        if length < 2 {
            return Err(At::new(at, Defect::BadSegment { marker, length }));
        }
        self.take(usize::from(length) - 2)
    }

    /// Everything up to and with the scan header.
    fn headers(&mut self) -> Result<Header, At> {
        let mut header = None;
        loop {
            let (at, marker) = self.marker()?;
            match marker {
                0xc0 | 0xc1 if header.is_none() => {
                    header = Some(frame_header(at, marker, self.segment(at, marker)?)?);
                }
                0xc2 => return Err(At::new(at, Defect::Progressive)),
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => {
                    return Err(At::new(at, Defect::Coding(marker)));
                }
                // Tables, restart interval, application data, comment.
                0xc4 | 0xdb | 0xdd | 0xe0..=0xef | 0xfe => {
                    self.segment(at, marker)?;
                }
                SOS => {
                    let scan = self.segment(at, marker)?;
                    let Some(header) = header else {
                        return Err(At::new(at, Defect::UnexpectedMarker(marker)));
                    };
                    return scan_header(at, scan, header).map(|()| header);
                }
                _ => return Err(At::new(at, Defect::UnexpectedMarker(marker))),
            }
        }
    }

    /// Steps over entropy-coded data, up to the marker that ends it.
    fn entropy_coded(&mut self) -> Result<(), At> {
        loop {
            let rest = self.bytes.get(self.pos..).unwrap_or_default();
            let Some(step) = rest.iter().position(|&byte| byte == 0xff) else {
                return Err(At::new(self.bytes.len(), Defect::Truncated));
            };
            match rest.get(step + 1) {
                None => return Err(At::new(self.bytes.len(), Defect::Truncated)),
                // A stuffed zero or a restart marker: the data goes on.
                Some(0x00 | 0xd0..=0xd7) => self.pos += step + 2,
                // A fill byte: the next `ff` decides.
                Some(0xff) => self.pos += step + 1,
                Some(_) => {
                    self.pos += step;
                    return Ok(());
                }
            }
        }
    }
}

fn frame_header(at: usize, marker: u8, body: &[u8]) -> Result<Header, At> {
    let fail = |defect| Err(At::new(at, defect));
    let bad_length = Defect::BadSegment {
        marker,
        length: u16::try_from(body.len() + 2).unwrap_or(u16::MAX),
    };
    let Some((fixed, factors)) = body.split_at_checked(6) else {
        return fail(bad_length);
    };
    let height = u16::from_be_bytes([fixed[1], fixed[2]]);
    let width = u16::from_be_bytes([fixed[3], fixed[4]]);
    let components = fixed[5];
    if fixed[0] != 8 {
        return fail(Defect::Precision(fixed[0]));
    }
    if width == 0 || height == 0 {
        return fail(Defect::ZeroSize { width, height });
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        return fail(Defect::Oversize {
            width,
            height,
            limit: MAX_SIDE,
        });
    }
    if components != 1 && components != 3 {
        return fail(Defect::Components(components));
    }
    if factors.len() != 3 * usize::from(components) {
        return fail(bad_length);
    }
    let Some(sampling) = sampling(factors) else {
        return fail(Defect::Sampling);
    };
    Ok(Header {
        width,
        height,
        components,
        sampling,
    })
}

/// `factors` has three bytes a component: its name, its sampling factors and
/// its quantisation table.
fn sampling(factors: &[u8]) -> Option<Sampling> {
    let (luma, chroma) = factors.split_at(3);
    let sampling = Sampling {
        horizontal: luma[1] >> 4,
        vertical: luma[1] & 15,
    };
    let usual = matches!(sampling.horizontal, 1 | 2) && matches!(sampling.vertical, 1 | 2);
    if !usual || chroma.chunks_exact(3).any(|factors| factors[1] != 0x11) {
        return None;
    }
    // A lone component is not interleaved with any other: its factors mean
    // nothing (T.81, A.2.2).
    Some(if chroma.is_empty() {
        Sampling {
            horizontal: 1,
            vertical: 1,
        }
    } else {
        sampling
    })
}

fn scan_header(at: usize, body: &[u8], header: Header) -> Result<(), At> {
    let expected = 4 + 2 * usize::from(header.components);
    match body.first() {
        Some(&count) if count == header.components && body.len() == expected => Ok(()),
        Some(&count) if (1..header.components).contains(&count) => {
            Err(At::new(at, Defect::SeveralScans))
        }
        _ => Err(At::new(
            at,
            Defect::BadSegment {
                marker: SOS,
                length: u16::try_from(body.len() + 2).unwrap_or(u16::MAX),
            },
        )),
    }
}
