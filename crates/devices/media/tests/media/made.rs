//! Small clips made for tests.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// A colourful gradient, different for every `seed`.
pub(crate) fn picture(width: u16, height: u16, seed: u8) -> Vec<u8> {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let [x, y] = [x, y].map(|at| at as u8);
            rgb.extend([x.wrapping_mul(5), y.wrapping_mul(3), seed]);
        }
    }
    rgb
}

/// A baseline JPEG image of one scan.
pub(crate) fn jpeg(width: u16, height: u16, seed: u8) -> Vec<u8> {
    jpeg_of(
        &picture(width, height, seed),
        (width, height),
        SamplingFactor::F_1_1,
        90,
    )
}

pub(crate) fn jpeg_of(
    rgb: &[u8],
    size: (u16, u16),
    sampling: SamplingFactor,
    quality: u8,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(sampling);
    encoder.encode(rgb, size.0, size.1, ColorType::Rgb).unwrap();
    bytes
}

/// A RIFF chunk, padded.
pub(crate) fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = lying_chunk(id, u32::try_from(body.len()).unwrap(), body);
    if body.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

/// A RIFF chunk that claims another size than it has.
pub(crate) fn lying_chunk(id: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    [id.as_slice(), &size.to_le_bytes(), body].concat()
}

pub(crate) fn list(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    chunk(b"LIST", &[kind.as_slice(), &chunks.concat()].concat())
}

/// An AVI file around what is in its `movi` list.
pub(crate) fn avi(movie: &[Vec<u8>]) -> Vec<u8> {
    avi_with(b"MJPG", movie)
}

pub(crate) fn avi_with(codec: &[u8; 4], movie: &[Vec<u8>]) -> Vec<u8> {
    riff(b"AVI ", &[headers(codec), list(b"movi", movie)])
}

pub(crate) fn riff(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    chunk(b"RIFF", &[kind.as_slice(), &chunks.concat()].concat())
}

/// Stream 0 is sound, stream 1 video of 30000/1001 frames per second.
pub(crate) fn headers(codec: &[u8; 4]) -> Vec<u8> {
    let sound = chunk(b"strh", &[b"auds".as_slice(), &[0; 52]].concat());
    let mut video = b"vids".to_vec();
    video.resize(20, 0);
    video.extend(1001u32.to_le_bytes());
    video.extend(30000u32.to_le_bytes());
    video.resize(56, 0);
    let mut format = vec![0; 40];
    format[16..20].copy_from_slice(codec);
    let video = [chunk(b"strh", &video), chunk(b"strf", &format)];
    let main = chunk(b"avih", &40_000u32.to_le_bytes());
    list(
        b"hdrl",
        &[main, list(b"strl", &[sound]), list(b"strl", &video)],
    )
}

/// A chunk of the video stream.
pub(crate) fn video(jpeg: &[u8]) -> Vec<u8> {
    chunk(b"01dc", jpeg)
}

/// Where `needle` is the `nth` time.
pub(crate) fn find(bytes: &[u8], needle: &[u8], nth: usize) -> usize {
    let mut at = bytes
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| window == &needle);
    at.nth(nth).expect("the needle is there").0
}
