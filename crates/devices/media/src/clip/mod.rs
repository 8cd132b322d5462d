//! Motion-JPEG files: which frames there are and where.
//!
//! Two containers are read: AVI, and JPEG images one after another (the
//! `.mjpeg` that cameras and `ffmpeg -f mjpeg` write; a single JPEG is a clip
//! of one frame). The whole file is looked at when it is opened, so that a bad
//! clip is refused before the first buffer is made, with the number of the
//! frame and the byte where it goes wrong. What can't be seen from outside is
//! damage within the entropy-coded data; the decoder reports that.

mod avi;
mod frames;
mod jpeg;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{At, Defect, Error};
use frames::{Frames, Span};
pub use jpeg::{Header, Sampling};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 30;
/// The largest width and height, in pixels.
pub const MAX_SIDE: u16 = 8192;
/// The most frames in a clip: a frame that repeats the last one takes 8 bytes
/// in the file and more in memory. At 30 a second, this is 9 hours.
pub const MAX_FRAMES: usize = 1 << 20;

/// A Motion-JPEG file in memory, known to be sound from outside.
///
/// # Invariants
/// There is at least one frame; all have the same size and number of
/// components; every span lies within the bytes.
#[derive(Debug)]
pub struct Clip {
    bytes: Vec<u8>,
    frames: Vec<Span>,
    container: Container,
    rate: Option<FrameRate>,
}

/// How the frames are kept in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// An AVI file, with or without OpenDML's extensions.
    Avi,
    /// JPEG images one after another.
    Jpegs,
}

/// Frames per second, as a fraction of two numbers above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// This many frames ...
    pub frames: u32,
    /// ... in this many seconds.
    pub seconds: u32,
}

impl FrameRate {
    fn new(frames: u32, seconds: u32) -> Option<Self> {
        (frames > 0 && seconds > 0).then_some(Self { frames, seconds })
    }
}

/// One picture of a clip, still coded.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Number of the frame in its clip, from 0.
    pub index: usize,
    /// Where in the file the JPEG image starts.
    pub offset: usize,
    /// The JPEG image, from its first marker to its last.
    pub bytes: &'a [u8],
    /// Size, components and subsampling.
    pub header: Header,
}

impl Clip {
    /// Reads a file of at most [`MAX_BYTES`].
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::TooLarge`], or what [`Clip::parse`] finds.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = || {
            let mut bytes = Vec::new();
            // One byte over the limit tells a file that is too large, even one
            // that has no length to ask for.
            File::open(path)?
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        Self::parse(read().map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?)
    }

    /// Finds the frames in a file's bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`], or [`Error::BadClip`] with the first defect.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Error> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::TooLarge {
                size: bytes.len() as u64,
                limit: MAX_BYTES,
            });
        }
        let container = recognise(&bytes).map_err(|at| at.in_frame(0))?;
        let mut frames = Frames::default();
        let rate = match container {
            Container::Avi => avi::read(&bytes, &mut frames)?,
            Container::Jpegs => {
                read_jpegs(&bytes, &mut frames)?;
                None
            }
        };
        let frames = frames.finish(bytes.len())?;
        Ok(Self {
            bytes,
            frames,
            container,
            rate,
        })
    }

    /// How many frames there are; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a clip is never empty")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// What all frames have in common, and the first one's subsampling.
    #[must_use]
    pub fn header(&self) -> Header {
        self.frames[0].header
    }

    /// Pixels in a row: 1 to [`MAX_SIDE`].
    #[must_use]
    pub fn width(&self) -> u32 {
        self.header().width.into()
    }

    /// Rows: 1 to [`MAX_SIDE`].
    #[must_use]
    pub fn height(&self) -> u32 {
        self.header().height.into()
    }

    /// How the frames are kept in the file.
    #[must_use]
    pub fn container(&self) -> Container {
        self.container
    }

    /// How fast the clip plays, where the file says so.
    #[must_use]
    pub fn frame_rate(&self) -> Option<FrameRate> {
        self.rate
    }

    /// The frame with this number, from 0.
    #[must_use]
    pub fn frame(&self, index: usize) -> Option<Frame<'_>> {
        let span = self.frames.get(index)?;
        Some(Frame {
            index,
            offset: span.start,
            bytes: &self.bytes[span.start..span.end],
            header: span.header,
        })
    }

    /// All frames in order.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        (0..self.len()).map(|index| self.frame(index).expect("the index is below the length"))
    }
}

fn recognise(bytes: &[u8]) -> Result<Container, At> {
    if bytes.is_empty() {
        return Err(At::new(0, Defect::Empty));
    }
    match avi::recognise(bytes) {
        None => Err(At::new(bytes.len(), Defect::Truncated)),
        Some(true) => Ok(Container::Avi),
        Some(false) if bytes.starts_with(&[0xff]) => Ok(Container::Jpegs),
        Some(false) => Err(At::new(0, Defect::UnknownContainer)),
    }
}

fn read_jpegs(bytes: &[u8], frames: &mut Frames) -> Result<(), Error> {
    let mut pos = 0;
    while pos < bytes.len() {
        let image = jpeg::scan(bytes, pos).map_err(|at| at.in_frame(frames.len()))?;
        frames.push(pos, image)?;
        // Some recorders pad each image to whole blocks with zeros.
        let padding = bytes[image.end..].iter().take_while(|&&byte| byte == 0);
        pos = image.end + padding.count();
    }
    Ok(())
}
