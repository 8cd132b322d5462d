//! vivid, a camera that is not there, with either of its allocators
//! (Documentation/admin-guide/media/vivid.rst).

use std::cell::Cell;
use std::os::fd::AsFd as _;
use std::rc::Rc;

use landbridge_dmabuf as dmabuf;
use landbridge_dmabuf::v4l2::Capture;

use super::{Access, Exported, Exporter, Refused};
use crate::sys::memory::PAGE;

/// The module line with which the first device allocates by vmalloc and the
/// second contiguously, one capture node each.
pub const MODULE: &str = "vivid n_devs=2 allocators=0,1 node_types=0x1,0x1";

/// Buffers in the queue: the suite holds two at a time, and an exported one is
/// taken again only after a few others.
const BUFFERS: u32 = 4;

/// One of vivid's devices. Its queue belongs to whoever opened it first, so one
/// descriptor serves all buffers.
#[derive(Debug)]
pub struct Vivid {
    name: &'static str,
    device: Rc<Capture>,
    next: Cell<u32>,
}

impl Vivid {
    /// The device with the vmalloc allocator.
    ///
    /// # Errors
    /// When it is not there.
    pub fn vmalloc() -> Result<Self, Refused> {
        Self::open("vivid-vmalloc", "/dev/video0")
    }

    /// The device with the contiguous allocator.
    ///
    /// # Errors
    /// When it is not there.
    pub fn contiguous() -> Result<Self, Refused> {
        Self::open("vivid-contig", "/dev/video1")
    }

    /// The device at `path`; `name` is the column.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(name: &'static str, path: &str) -> Result<Self, Refused> {
        let device = Capture::open(path)?;
        device.allocate(BUFFERS)?;
        Ok(Self {
            name,
            device: Rc::new(device),
            next: Cell::new(0),
        })
    }
}

impl Exporter for Vivid {
    fn name(&self) -> &'static str {
        self.name
    }

    /// The size is the picture's, whatever is asked.
    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        let index = self.next.get();
        self.next.set((index + 1) % BUFFERS);
        let length = self.device.picture_bytes(index)?;
        let length = u64::from(length).next_multiple_of(PAGE as u64);
        assert!(length >= size, "vivid's pictures are smaller than {size}");
        let device = Rc::clone(&self.device);
        let again = move |access: Access| Ok(device.export(index, access.into())?.into());
        let fd = again(access)?;
        let exported = Exported::new(fd, length).exportable(again);
        let (owner, offset) = (
            self.device.as_fd().try_clone_to_owned()?,
            self.device.mmap_offset(index)?,
        );
        Ok(exported.seen_by_owner(owner, offset))
    }
}

impl From<Access> for dmabuf::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::ReadOnly => Self::ReadOnly,
            Access::ReadWrite => Self::ReadWrite,
        }
    }
}

impl Access {
    /// The open flags of a new descriptor.
    #[must_use]
    pub fn open_flags(self) -> u32 {
        let mode = match self {
            Self::ReadOnly => libc::O_RDONLY,
            Self::ReadWrite => libc::O_RDWR,
        };
        (libc::O_CLOEXEC | mode).cast_unsigned()
    }
}
