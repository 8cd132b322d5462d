//! Writes an AVI file of one Motion-JPEG stream.
//!
//! Layout by Microsoft's AVI RIFF file reference: the main header, one stream
//! header with its format, the frames as `00dc` chunks, and the index that
//! players seek by.

/// `AVIF_HASINDEX`.
const HAS_INDEX: u32 = 0x10;
/// `AVIIF_KEYFRAME`: every JPEG stands for itself.
const KEYFRAME: u32 = 0x10;

/// The whole file. All frames are JPEG images of `width` times `height`.
pub(super) fn write(width: u16, height: u16, rate: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let largest = frames.iter().map(Vec::len).max().unwrap_or(0);
    let video = Video {
        width: width.into(),
        height: height.into(),
        rate,
        frames: size(frames.len()),
        largest: size(largest),
    };
    let (movie, index) = movie(frames);
    let header = list(b"hdrl", &[video.main_header(), video.stream()].concat());
    let body = [header, list(b"movi", &movie), chunk(b"idx1", &index)].concat();
    chunk(b"RIFF", &[b"AVI ".as_slice(), &body].concat())
}

struct Video {
    width: u32,
    height: u32,
    rate: u32,
    frames: u32,
    largest: u32,
}

impl Video {
    fn main_header(&self) -> Vec<u8> {
        chunk(
            b"avih",
            &words(&[
                1_000_000 / self.rate,
                self.largest * self.rate,
                0,
                HAS_INDEX,
                self.frames,
                0,
                1,
                self.largest,
                self.width,
                self.height,
                0,
                0,
                0,
                0,
            ]),
        )
    }

    fn stream(&self) -> Vec<u8> {
        let mut header = b"vidsMJPG".to_vec();
        // Flags, priority and language, initial frames, scale, rate, start,
        // length, buffer, default quality, variable sample size, rectangle.
        let quality = u32::MAX;
        let corner = self.width | self.height << 16;
        header.extend(words(&[
            0,
            0,
            0,
            1,
            self.rate,
            0,
            self.frames,
            self.largest,
            quality,
            0,
            0,
            corner,
        ]));
        let mut format = words(&[40, self.width, self.height, 1 | 24 << 16]);
        format.extend(b"MJPG");
        format.extend(words(&[self.width * self.height * 3, 0, 0, 0, 0]));
        list(
            b"strl",
            &[chunk(b"strh", &header), chunk(b"strf", &format)].concat(),
        )
    }
}

/// The frames' chunks, and the index of them; its offsets count from the word
/// `movi`.
fn movie(frames: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let (mut movie, mut index) = (Vec::new(), Vec::new());
    for frame in frames {
        index.extend(b"00dc");
        index.extend(words(&[KEYFRAME, size(4 + movie.len()), size(frame.len())]));
        movie.extend(chunk(b"00dc", frame));
    }
    (movie, index)
}

fn list(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    chunk(b"LIST", &[kind, body].concat())
}

fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = id.to_vec();
    chunk.extend(size(body.len()).to_le_bytes());
    chunk.extend(body);
    if body.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn size(len: usize) -> u32 {
    u32::try_from(len).expect("a clip of a few MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_leads_to_every_frame() {
        let frames = [vec![1; 5], vec![2; 4], vec![3; 7]];
        let file = write(16, 8, 24, &frames);
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(word(4) + 8, file.len());
        let place = |id: &[u8]| file.windows(4).position(|four| four == id).unwrap();
        let (movie, index) = (place(b"movi"), place(b"idx1"));
        assert_eq!(word(index + 4), 16 * frames.len());
        for (nth, frame) in frames.iter().enumerate() {
            let entry = index + 8 + 16 * nth;
            let (at, len) = (movie + word(entry + 8), word(entry + 12));
            assert_eq!(&file[at..at + 4], b"00dc");
            assert_eq!(&file[at + 8..at + 8 + len], frame);
        }
    }
}
