//! What can go wrong, and whose fault it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;
use zune_jpeg::errors::DecodeErrors;

use crate::layout::PixelFormat;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read at all.
    #[error("can't read the clip {}", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than a clip may be.
    #[error("the clip has {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Bytes in the file, as far as they were counted.
        size: u64,
        /// Bytes that are accepted.
        limit: u64,
    },
    /// The file is no clip that we can play.
    #[error("bad clip: frame {frame}, byte {offset}: {defect}")]
    BadClip {
        /// Number of the frame, from 0, that was being read.
        frame: usize,
        /// Where in the file the defect is.
        offset: usize,
        /// What is wrong there.
        defect: Defect,
    },
    /// The frame is well-formed outside, but its coded data is damaged.
    #[error("frame {frame}, which starts at byte {offset}, can't be decoded")]
    Undecodable {
        /// Number of the frame, from 0.
        frame: usize,
        /// Where in the file the frame starts.
        offset: usize,
        /// What the decoder said.
        source: DecodeErrors,
    },
    /// The decoder claimed success but left the end of the frame unwritten.
    #[error("frame {frame}, which starts at byte {offset}, ends before its last row")]
    Incomplete {
        /// Number of the frame, from 0.
        frame: usize,
        /// Where in the file the frame starts.
        offset: usize,
    },
    /// The independent decoder rejected the frame.
    #[error("frame {frame}, which starts at byte {offset}, fails in the reference decoder")]
    Reference {
        /// Number of the frame, from 0.
        frame: usize,
        /// Where in the file the frame starts.
        offset: usize,
        /// What the reference decoder said.
        source: jpeg_decoder::Error,
    },
    /// The buffer describes another picture than the frame holds.
    #[error(
        "the buffer is {}x{} pixels, the frame {}x{}",
        buffer.0, buffer.1, frame.0, frame.1
    )]
    SizeMismatch {
        /// Width and height of the buffer, in pixels.
        buffer: (u32, u32),
        /// Width and height of the frame, in pixels.
        frame: (u32, u32),
    },
    /// Rows of the buffer are not where the decoder can put them.
    #[error(
        "the buffer's stride is {stride} bytes; {format} rows are decoded packed, {packed} bytes apart"
    )]
    Stride {
        /// Bytes from one row of the buffer to the next.
        stride: u32,
        /// Bytes that a row of pixels takes.
        packed: u32,
        /// The buffer's pixel format.
        format: PixelFormat,
    },
    /// No living buffer has this UUID.
    #[error("no buffer has the UUID {0}")]
    NoBuffer(Uuid),
    /// The exchange did not give the buffer.
    #[error(transparent)]
    Exchange(#[from] landbridge_exchange::Error),
    /// The decoder's thread could not be started.
    #[error("can't start the decoder's thread")]
    Thread(#[source] std::io::Error),
    /// A frame was not decoded in time; it may still come.
    #[error("waited {limit:?} for {work}")]
    Late {
        /// What was waited for.
        work: String,
        /// How long.
        limit: Duration,
    },
    /// The decoder has stopped.
    #[error("the decoder has stopped")]
    Stopped,
    /// The buffer is shorter than its layout says.
    #[error("the buffer has {len} bytes; its layout needs {needed}")]
    ShortBuffer {
        /// Bytes that there are.
        len: usize,
        /// Bytes that the layout asks for.
        needed: usize,
    },
}

impl Error {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Read { .. } | Self::Thread(_) | Self::Late { .. } | Self::Stopped => Fault::Host,
            Self::Exchange(error) => match error.fault() {
                landbridge_exchange::error::Fault::Asker => Fault::Caller,
                _ => Fault::Host,
            },
            Self::TooLarge { .. }
            | Self::BadClip { .. }
            | Self::Undecodable { .. }
            | Self::Incomplete { .. }
            | Self::Reference { .. } => Fault::Clip,
            Self::NoBuffer(_)
            | Self::SizeMismatch { .. }
            | Self::Stride { .. }
            | Self::ShortBuffer { .. } => Fault::Caller,
        }
    }
}

/// Who has to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The clip is bad; another try with it fails the same way.
    Clip,
    /// The host could not read the file; a later try may succeed.
    Host,
    /// The caller offered a buffer that doesn't fit the clip.
    Caller,
}

/// Four characters that name a RIFF chunk or list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a clip at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// Neither an AVI file nor a JPEG image.
    #[error("neither AVI nor JPEG")]
    UnknownContainer,
    /// The container holds no picture.
    #[error("there is no video frame")]
    NoFrames,
    /// More pictures than we keep track of.
    #[error("more than {0} frames")]
    TooManyFrames(usize),
    /// The data stops in the middle of a frame or chunk.
    #[error("the data ends here, in the middle of something")]
    Truncated,
    /// A chunk claims more bytes than its surroundings hold.
    #[error("chunk {id} claims {size} bytes, {available} are left")]
    ChunkOverrun {
        /// The chunk.
        id: FourCc,
        /// Bytes that it claims.
        size: u32,
        /// Bytes between its header and the end of what contains it.
        available: usize,
    },
    /// Lists within lists within lists.
    #[error("lists are nested deeper than {0}")]
    TooDeep(usize),
    /// An AVI chunk without data asks for the previous picture; there is none.
    #[error("an empty frame, and no earlier one to repeat")]
    EmptyFrame,
    /// A frame doesn't start like a JPEG image.
    #[error("no JPEG image starts here (found {:02x} {:02x})", found[0], found[1])]
    NotJpeg {
        /// The first two bytes.
        found: [u8; 2],
    },
    /// The video stream is coded in another way.
    #[error("no JPEG image starts here; the video stream is {codec}")]
    OtherCodec {
        /// The coding that the file names.
        codec: FourCc,
    },
    /// Two fields in one chunk.
    #[error("a second image in one chunk: interlaced video is not supported")]
    Interlaced,
    /// Bytes between two segments that belong to neither.
    #[error("expected a JPEG marker, found {0:02x}")]
    NoMarker(u8),
    /// A marker where it may not be.
    #[error("JPEG marker {0:02x} is out of place")]
    UnexpectedMarker(u8),
    /// A segment's length can't be right.
    #[error("JPEG segment {marker:02x} has the impossible length {length}")]
    BadSegment {
        /// Its marker.
        marker: u8,
        /// The length that it claims.
        length: u16,
    },
    /// Progressive coding needs the whole frame's coefficients in memory.
    #[error("progressive JPEG needs a frame-sized intermediate; only baseline is decoded")]
    Progressive,
    /// Components in scans of their own need the same.
    #[error("a JPEG in several scans needs a frame-sized intermediate; only one scan is decoded")]
    SeveralScans,
    /// Lossless, hierarchical or arithmetic coding.
    #[error("JPEG coding {0:02x} is not supported, only baseline")]
    Coding(u8),
    /// Samples of other than 8 bits.
    #[error("{0} bits per sample; only 8 are supported")]
    Precision(u8),
    /// Neither grey nor YCbCr.
    #[error("{0} colour components; only 1 and 3 are supported")]
    Components(u8),
    /// Chroma subsampling that no common camera uses.
    #[error("unsupported chroma subsampling")]
    Sampling,
    /// A picture without extent.
    #[error("the size {width}x{height} is empty")]
    ZeroSize {
        /// Pixels in a row.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// A picture beyond any display.
    #[error("the size {width}x{height} is beyond {limit}x{limit}")]
    Oversize {
        /// Pixels in a row.
        width: u16,
        /// Rows.
        height: u16,
        /// The most of either.
        limit: u16,
    },
    /// A frame that differs in size from the first.
    #[error("the size changes from {}x{} to {}x{}", from.0, from.1, to.0, to.1)]
    SizeChanged {
        /// The first frame's width and height.
        from: (u16, u16),
        /// This frame's.
        to: (u16, u16),
    },
    /// A frame that differs in its number of components from the first.
    #[error("the number of colour components changes from {from} to {to}")]
    ComponentsChanged {
        /// The first frame's.
        from: u8,
        /// This frame's.
        to: u8,
    },
}

/// A defect and where it is: what the parsers below the clip return, before
/// the frame's number is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) offset: usize,
    pub(crate) defect: Defect,
}

impl At {
    pub(crate) fn new(offset: usize, defect: Defect) -> Self {
        Self { offset, defect }
    }

    pub(crate) fn in_frame(self, frame: usize) -> Error {
        Error::BadClip {
            frame,
            offset: self.offset,
            defect: self.defect,
        }
    }
}
