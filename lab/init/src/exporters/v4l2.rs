//! vivid, a camera that is not there, with either of its allocators
//! (Documentation/admin-guide/media/vivid.rst).

use std::fs::OpenOptions;

use super::{Access, Exported, Exporter, Refused};
use crate::sys::memory::PAGE;
use crate::sys::v4l2;

/// The module line with which the first device allocates by vmalloc and the
/// second contiguously, one capture node each.
pub const MODULE: &str = "vivid n_devs=2 allocators=0,1 node_types=0x1,0x1";

/// One of vivid's devices.
#[derive(Debug)]
pub struct Vivid {
    name: &'static str,
    path: &'static str,
}

impl Vivid {
    /// The device with the vmalloc allocator.
    pub const VMALLOC: Self = Self {
        name: "vivid-vmalloc",
        path: "/dev/video0",
    };
    /// The device with the contiguous allocator.
    pub const CONTIGUOUS: Self = Self {
        name: "vivid-contig",
        path: "/dev/video1",
    };
}

impl Exporter for Vivid {
    fn name(&self) -> &'static str {
        self.name
    }

    /// The size is the picture's, whatever is asked.
    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        let device = OpenOptions::new().read(true).write(true).open(self.path)?;
        v4l2::request(&device, 1)?;
        let length = u64::from(v4l2::length(&device, 0)?).next_multiple_of(PAGE as u64);
        assert!(length >= size, "vivid's pictures are smaller than {size}");
        let fd = v4l2::export(&device, 0, access.open_flags())?;
        // The queue, and the buffer in it, go when the device is closed.
        let again = move |access: Access| Ok(v4l2::export(&device, 0, access.open_flags())?);
        Ok(Exported::new(fd, length).exportable(again))
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
