//! Who hands out dma-bufs in a machine, behind one trait.
//!
//! The conformance suite is written against [`Exporter`] once and run against
//! each of these, so that a row of the matrix means the same in every column.

mod drm;
mod gem;
mod heap;
mod memfd;
mod udmabuf;
mod v4l2;
mod vfio;

pub use drm::Dumb;
pub use gem::Gem;
pub use heap::SystemHeap;
pub use memfd::PlainMemfd;
pub use udmabuf::OverMemfd;
pub use v4l2::{MODULE as VIVID_MODULE, Vivid};
pub use vfio::{
    BAR as RAM_BAR, DEVICES as VFIO_DEVICES, MODULES as VFIO_MODULES, RAM_BAR as IVSHMEM, Region,
    bind_pci, open_pci,
};

use std::any::Any;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Result, bail};
use rustix::io::Errno;

use crate::scenario::Device;
use crate::sys::memory::{How, Map};

/// The displays. They share one machine; the rest gains nothing from machines apart.
pub const DISPLAYS: &[Device] = &[Device::VIRTIO_GPU, Device::BOCHS, Device::QXL];

/// The names of all that [`of_this_machine`] opens, vivid loaded as
/// [`VIVID_MODULE`] says.
pub const NAMES: [&str; 12] = [
    "heap",
    "udmabuf",
    "udmabuf-huge",
    "vgem",
    "vivid-vmalloc",
    "vivid-contig",
    "virtio-gpu",
    "bochs",
    "qxl-ram",
    "qxl-bar",
    "vfio",
    "memfd",
];

/// The exporter of this machine that has this name.
///
/// # Errors
/// When this machine does not have it, or nothing has that name.
pub fn of_this_machine(name: &str) -> Result<Box<dyn Exporter>> {
    Ok(match name {
        "heap" => Box::new(SystemHeap::open()?),
        "udmabuf" => Box::new(OverMemfd::small()?),
        "udmabuf-huge" => Box::new(OverMemfd::huge()?),
        "vgem" => Box::new(Dumb::of("vgem", "vgem")?),
        "vivid-vmalloc" => Box::new(Vivid::vmalloc()?),
        "vivid-contig" => Box::new(Vivid::contiguous()?),
        "virtio-gpu" => Box::new(Dumb::of("virtio_gpu", "virtio-gpu")?),
        "bochs" => Box::new(Dumb::of("bochs-drm", "bochs")?),
        "qxl-ram" => Box::new(Dumb::of("qxl", "qxl-ram")?),
        "qxl-bar" => Box::new(Dumb::surfaces_of_qxl("qxl-bar")?),
        "vfio" => Box::new(Region::open()?),
        "memfd" => Box::new(PlainMemfd),
        other => bail!("no exporter is called {other}"),
    })
}

/// Hands out buffers.
///
/// An implementation makes every buffer anew, of at least the asked size in
/// whole pages, and keeps alive whatever the buffer needs for as long as the
/// [`Exported`] lives.
pub trait Exporter {
    /// The column of the matrix.
    fn name(&self) -> &'static str;

    /// Makes a buffer and exports it.
    ///
    /// # Errors
    /// What the kernel says.
    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused>;

    /// Takes the memory of all its buffers away, or gives it back.
    ///
    /// # Errors
    /// What the kernel says; [`Refused::NotOffered`] where memory stays.
    fn switch(&self, on: bool) -> Result<(), Refused> {
        let _ = on;
        Err(Refused::NotOffered)
    }
}

/// What the descriptor allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mappings may only read.
    ReadOnly,
    /// Mappings may read and write.
    ReadWrite,
}

/// Why there is no buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The exporter's interface has no such request.
    NotOffered,
    /// The kernel said no.
    Kernel(Errno),
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self::Kernel(Errno::from_raw_os_error(
            error.raw_os_error().unwrap_or(libc::EIO),
        ))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered => f.write_str("-"),
            Self::Kernel(errno) => f.write_str(&crate::sys::errno_name(*errno)),
        }
    }
}

impl std::error::Error for Refused {}

/// Exports the object behind a buffer once more.
type Again = Box<dyn Fn(Access) -> Result<OwnedFd, Refused>>;

/// A buffer with what it is to be.
pub struct Exported {
    fd: OwnedFd,
    size: u64,
    again: Option<Again>,
    owner: Option<(Box<dyn AsFd>, u64)>,
    // Held for its Drop: the buffer's backing.
    _keep: Option<Box<dyn Any>>,
}

impl Exported {
    /// A buffer of `size` bytes that stands by itself.
    #[must_use]
    pub fn new(fd: OwnedFd, size: u64) -> Self {
        Self {
            fd,
            size,
            again: None,
            owner: None,
            _keep: None,
        }
    }

    /// The same with a way to export its object once more.
    #[must_use]
    pub fn exportable(
        mut self,
        again: impl Fn(Access) -> Result<OwnedFd, Refused> + 'static,
    ) -> Self {
        self.again = Some(Box::new(again));
        self
    }

    /// The same with the descriptor and the offset at which its owner maps it,
    /// with no regard to the dma-buf.
    #[must_use]
    pub fn seen_by_owner(mut self, owner: impl AsFd + 'static, offset: u64) -> Self {
        self.owner = Some((Box::new(owner), offset));
        self
    }

    /// The same with something that must live as long.
    #[must_use]
    pub fn keeping(mut self, keep: impl Any) -> Self {
        self._keep = Some(Box::new(keep));
        self
    }

    /// Exports the object behind it once more.
    ///
    /// # Errors
    /// What the kernel says; [`Refused::NotOffered`] where an object has one
    /// dma-buf only, made together with it.
    pub fn again(&self, access: Access) -> Result<OwnedFd, Refused> {
        match &self.again {
            Some(again) => again(access),
            None => Err(Refused::NotOffered),
        }
    }

    /// Maps it as its owner does; as a dma-buf where nobody has another way.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn map_by_owner(&self) -> Result<Map, Errno> {
        match &self.owner {
            Some((owner, offset)) => {
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                Map::new(owner.as_fd(), offset, self.bytes(), How::SHARED)
            }
            None => Map::new(&self.fd, 0, self.bytes(), How::SHARED),
        }
    }

    /// The size in bytes that the exporter promised.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The same as a length of memory.
    ///
    /// # Panics
    /// Never on the 64-bit machines that the lab has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.size).expect("64 bits")
    }
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported")
            .field("fd", &self.fd)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl AsFd for Exported {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
