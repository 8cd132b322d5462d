//! What can go wrong at the border to the kernel, and whose fault it is.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::caching::Caching;
use crate::dma_buf::Readiness;
use crate::storage::Holders;

/// The result of every fallible function in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. The message says who can do something about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine lacks a device node: its kernel or its policy must change.
    #[error("this machine has no {}", path.display())]
    NoDevice {
        /// The device node that is missing.
        path: PathBuf,
    },
    /// The caller wants memory of a NUMA node that is not there, has none, or is
    /// not for this process.
    #[error("NUMA node {node} has no memory for this process")]
    NoNode {
        /// The node's number.
        node: u32,
    },
    /// No DRM device of this machine has the driver.
    #[error("no DRM device is driven by {name}")]
    NoDriver {
        /// The driver that was asked for.
        name: String,
    },
    /// The kernel refused or failed a call.
    #[error("{call} failed")]
    Sys {
        /// The system call or ioctl, spelled as in the kernel's headers.
        call: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The caller reached past the end. All three in bytes.
    #[error("{len} bytes at offset {offset} do not lie within {size} bytes")]
    OutOfBounds {
        /// Where the access starts.
        offset: u64,
        /// How long it is.
        len: u64,
        /// How much there is.
        size: u64,
    },
    /// The caller gave a length of zero, or an empty list.
    #[error("{what} must not be empty")]
    Empty {
        /// What was empty.
        what: &'static str,
    },
    /// The caller's offset, length or size isn't a multiple of what the memory needs.
    #[error("{what} {value:#x} is not a multiple of {align:#x}")]
    Misaligned {
        /// Which number.
        what: &'static str,
        /// Its value, in bytes.
        value: u64,
        /// What it must be a multiple of, in bytes.
        align: u64,
    },
    /// Two slices, views or rectangles that must be equally long are not.
    #[error("{expected} bytes expected, but {found} given")]
    LengthMismatch {
        /// Bytes on the side that decides.
        expected: usize,
        /// Bytes on the other side.
        found: usize,
    },
    /// The descriptor that somebody handed in isn't a dma-buf.
    #[error("the descriptor is not a dma-buf")]
    NotADmaBuf,
    /// The descriptor that somebody handed in isn't a memfd.
    #[error("the descriptor is not a memfd")]
    NotAMemfd,
    /// The descriptor that somebody handed in isn't a sync_file.
    #[error("the descriptor is not a sync_file")]
    NotASyncFile,
    /// The node or descriptor that somebody handed in isn't a DRM device.
    #[error("not a DRM device")]
    NotADrmDevice,
    /// The memory can't be mapped, or not in the way that the caller wants:
    /// ENODEV in the kernel's words.
    #[error("{what} can't be mapped")]
    NotMappable {
        /// What can't.
        what: &'static str,
    },
    /// The device doesn't capture pictures into buffers of one plane.
    #[error("{driver} does not capture into buffers of one plane")]
    NotACapture {
        /// The driver's name.
        driver: String,
    },
    /// The caller wants to write through something that is read-only.
    #[error("the mapping is read-only")]
    ReadOnly,
    /// The memory's owner may shrink it under a mapping, and then every access
    /// is a SIGBUS. See [`Piece::trusting_owner`](crate::Piece::trusting_owner).
    #[error(
        "the memory may shrink under its mapping: it is neither a dma-buf nor sealed against it"
    )]
    CanShrink,
    /// udmabuf can't use this memory; its creator must seal it differently.
    #[error("udmabuf cannot use this memory: {reason}")]
    Unsuitable {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More was asked than the kernel or this crate allows.
    #[error("{what}: {asked} asked, but the limit is {limit}")]
    OverLimit {
        /// What is limited, with its unit.
        what: &'static str,
        /// What the caller wants.
        asked: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The caller's name can't be given to a buffer.
    #[error("the name {name:?} {reason}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Exclusive use was asked while others hold the memory, or the reverse.
    #[error("the memory is in use: {holders}")]
    InUse {
        /// Who holds it.
        holders: Holders,
    },
    /// Exclusive use was asked of memory whose descriptor others have, or had.
    #[error("the memory can never be exclusive: its descriptor was reachable before it was stored")]
    Foreign,
    /// A window has no piece where the caller reads or writes.
    #[error("nothing is mapped at offset {offset:#x} of the window")]
    Vacant {
        /// The first byte that isn't mapped.
        offset: usize,
    },
    /// A window already has a piece where the caller maps another.
    #[error("offset {offset:#x} of the window is occupied")]
    Occupied {
        /// Where the piece that is in the way starts.
        offset: usize,
    },
    /// The kernel can't pin this memory for a device: it is a driver's, and not
    /// ordinary pages.
    #[error("the kernel can't pin a driver's memory through its mapping")]
    NotPinnable,
    /// The area's memory is being moved; a later try may succeed.
    #[error("a gate is up before the area")]
    Gated,
    /// Part of this dma-buf can't be mapped on its own: some exporters ignore
    /// the offset and would show other bytes.
    #[error("exporter {exporter:?} is not known to honour mmap offsets: map the whole buffer")]
    OffsetNotHonoured {
        /// The exporter's name.
        exporter: String,
    },
    /// The exporter maps its memory with another caching than the caller wants.
    #[error("a {wanted} mapping was asked, and the exporter maps {found}")]
    OtherCaching {
        /// What the caller wants.
        wanted: Caching,
        /// What the exporter does.
        found: Caching,
    },
    /// The memory went away while it was mapped: its device was unplugged, or
    /// its file was shortened. What was read since may be zeros.
    #[error("the memory went away while it was mapped")]
    Gone,
    /// The memory was taken away: what was read may be zeros, what was written
    /// may be lost. A later try, with a mapping made anew, may succeed.
    #[error("the memory was taken away")]
    Revoked,
    /// Whoever maps a dma-buf keeps its pages: they can't be taken away.
    #[error("a dma-buf's pages can't be taken from those who map it")]
    NotSeverable,
    /// The fences on a buffer did not signal in time: devices still use it. A
    /// later try may succeed.
    #[error("{buffer} was still being {readiness} by devices after {} ms", waited.as_millis())]
    Fenced {
        /// Which buffer.
        buffer: String,
        /// What it was to be ready for.
        readiness: Readiness,
        /// How long somebody waited.
        waited: Duration,
    },
    /// A deadline passed first. A later try may succeed.
    #[error("the deadline passed")]
    Timeout,
}

impl Error {
    /// An error of the call `call`, as the kernel reported it.
    pub(crate) fn sys(call: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Sys {
            call,
            source: source.into(),
        }
    }

    /// Whether the same call may succeed later with nothing else changed by
    /// its caller.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Timeout | Self::Fenced { .. } | Self::Gated | Self::InUse { .. } => true,
            Self::Sys { source, .. } => matches!(
                source.raw_os_error(),
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::EMFILE)
            ),
            _ => false,
        }
    }

    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Sys { source, .. } => source.raw_os_error(),
            Self::NotMappable { .. } => Some(libc::ENODEV),
            _ => None,
        }
    }
}

/// Checks that `len` bytes at `offset` lie within `size` bytes.
pub(crate) fn check_bounds(offset: u64, len: u64, size: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::OutOfBounds { offset, len, size }),
    }
}

/// Checks that `value` is a multiple of `align`.
pub(crate) fn check_aligned(what: &'static str, value: u64, align: u64) -> Result<()> {
    if value.is_multiple_of(align) {
        return Ok(());
    }
    Err(Error::Misaligned { what, value, align })
}
