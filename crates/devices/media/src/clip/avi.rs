//! Frames in an AVI file.
//!
//! Follows Microsoft's AVI RIFF file reference and the OpenDML extensions:
//! a file is one `RIFF 'AVI '` followed by any number of `RIFF 'AVIX'`; frames
//! are the `##dc` and `##db` chunks in `LIST 'movi'`, perhaps grouped in
//! `LIST 'rec '`. Indexes are not read: they say nothing that walking the
//! chunks doesn't.

use super::frames::Frames;
use super::{FrameRate, jpeg};
use crate::error::{At, Defect, Error, FourCc};

/// RIFF, movi, rec and a little room.
const MAX_DEPTH: usize = 6;

/// Whether the file starts like an AVI file; `None` when it is too short to
/// tell.
pub(super) fn recognise(bytes: &[u8]) -> Option<bool> {
    if !bytes.starts_with(b"RIFF") {
        return Some(false);
    }
    bytes.get(8..12).map(|kind| kind == b"AVI ")
}

/// Collects the frames of the first video stream and says how fast they play.
pub(super) fn read(bytes: &[u8], frames: &mut Frames) -> Result<Option<FrameRate>, Error> {
    let mut reader = Reader {
        bytes,
        frames,
        streams: 0,
        video: None,
        codec: None,
        rate: None,
        period: None,
    };
    reader.chunks(0, bytes.len(), Inside::File, 0)?;
    Ok(reader.rate.or(reader.period))
}

/// What the chunks being walked are part of; it decides what they mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    File,
    Riff,
    Header,
    Stream,
    Movie,
}

struct Chunk {
    id: [u8; 4],
    size: u32,
    /// Offset of its header.
    at: usize,
    /// Offsets of its data, cut at the end of what contains it.
    start: usize,
    end: usize,
    /// Whether `end` had to be cut.
    cut: bool,
}

struct Reader<'a, 'f> {
    bytes: &'a [u8],
    frames: &'f mut Frames,
    /// Stream headers met so far.
    streams: u8,
    /// Number of the video stream that frames are taken from.
    video: Option<u8>,
    codec: Option<FourCc>,
    rate: Option<FrameRate>,
    /// The rate by the main header, for want of a better one.
    period: Option<FrameRate>,
}

impl Reader<'_, '_> {
    fn fail<T>(&self, offset: usize, defect: Defect) -> Result<T, Error> {
        Err(At::new(offset, defect).in_frame(self.frames.len()))
    }

    fn chunks(
        &mut self,
        start: usize,
        end: usize,
        inside: Inside,
        depth: usize,
    ) -> Result<(), Error> {
        let mut pos = start;
        while pos < end {
            let Some(chunk) = chunk_at(self.bytes, pos, end) else {
                return self.fail(end, Defect::Truncated);
            };
            match &chunk.id {
                b"RIFF" | b"LIST" => self.list(&chunk, inside, depth)?,
                _ if chunk.cut => {
                    let defect = Defect::ChunkOverrun {
                        id: FourCc(chunk.id),
                        size: chunk.size,
                        available: chunk.end - chunk.start,
                    };
                    return self.fail(chunk.at, defect);
                }
                _ => self.leaf(&chunk, inside)?,
            }
            // Chunks start at even offsets from their list's start.
            pos = chunk.end + (chunk.size as usize & 1);
        }
        Ok(())
    }

    fn list(&mut self, chunk: &Chunk, inside: Inside, depth: usize) -> Result<(), Error> {
        if depth >= MAX_DEPTH {
            return self.fail(chunk.at, Defect::TooDeep(MAX_DEPTH));
        }
        let Some(kind) = self.bytes[chunk.start..chunk.end].first_chunk::<4>() else {
            return self.fail(chunk.end, Defect::Truncated);
        };
        let within = match (inside, kind) {
            (Inside::File, b"AVI " | b"AVIX") => Some(Inside::Riff),
            (Inside::Riff, b"hdrl") => Some(Inside::Header),
            (Inside::Header, b"strl") => Some(Inside::Stream),
            (Inside::Riff, b"movi") | (Inside::Movie, b"rec ") => Some(Inside::Movie),
            _ => None,
        };
        if let Some(within) = within {
            self.chunks(chunk.start + 4, chunk.end, within, depth + 1)?;
        }
        if within == Some(Inside::Stream) {
            self.streams = self.streams.saturating_add(1);
        }
        // What the cut list does hold was walked first, so that the error
        // names the frame at which the data stops.
        if chunk.cut {
            return self.fail(chunk.end, Defect::Truncated);
        }
        Ok(())
    }

    fn leaf(&mut self, chunk: &Chunk, inside: Inside) -> Result<(), Error> {
        let data = &self.bytes[chunk.start..chunk.end];
        match (inside, &chunk.id) {
            (Inside::Header, b"avih") => {
                let period = u32_at(data, 0);
                self.period = period.and_then(|micros| FrameRate::new(1_000_000, micros));
            }
            (Inside::Stream, b"strh") if self.video.is_none() && data.starts_with(b"vids") => {
                self.video = Some(self.streams);
                let (scale, rate) = (u32_at(data, 20), u32_at(data, 24));
                self.rate = scale
                    .zip(rate)
                    .and_then(|(scale, rate)| FrameRate::new(rate, scale));
            }
            // The stream's format follows its header.
            (Inside::Stream, b"strf") if self.video == Some(self.streams) => {
                self.codec = data
                    .get(16..20)
                    .and_then(|id| id.first_chunk())
                    .copied()
                    .map(FourCc);
            }
            (Inside::Movie, &[tens, ones, b'd', b'b' | b'c']) => {
                let stream = decimal(tens).zip(decimal(ones)).map(|(t, o)| t * 10 + o);
                if let Some(stream) = stream
                    && *self.video.get_or_insert(stream) == stream
                {
                    return self.frame(chunk);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn frame(&mut self, chunk: &Chunk) -> Result<(), Error> {
        if chunk.size == 0 {
            // How AVI says that a frame was dropped: the last one stays.
            return self.frames.repeat(chunk.at);
        }
        let bytes = &self.bytes[..chunk.end];
        let image = jpeg::scan(bytes, chunk.start)
            .map_err(|at| self.name_codec(at).in_frame(self.frames.len()))?;
        if bytes[image.end..].starts_with(&[0xff, 0xd8]) {
            return self.fail(image.end, Defect::Interlaced);
        }
        self.frames.push(chunk.start, image)
    }

    fn name_codec(&self, at: At) -> At {
        match (at.defect, self.codec) {
            (Defect::NotJpeg { .. }, Some(codec)) if !codec.0.eq_ignore_ascii_case(b"MJPG") => {
                At::new(at.offset, Defect::OtherCodec { codec })
            }
            _ => at,
        }
    }
}

fn chunk_at(bytes: &[u8], at: usize, limit: usize) -> Option<Chunk> {
    let header: &[u8; 8] = bytes.get(at..limit)?.first_chunk()?;
    let [a, b, c, d, size @ ..] = *header;
    let size = u32::from_le_bytes(size);
    let start = at + 8;
    let available = limit - start;
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    Some(Chunk {
        id: [a, b, c, d],
        size,
        at,
        start,
        end: start + len.min(available),
        cut: len > available,
    })
}

fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn decimal(digit: u8) -> Option<u8> {
    digit.is_ascii_digit().then(|| digit - b'0')
}
