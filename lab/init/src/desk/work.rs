//! Work on a dma-buf of the daemon's, as a device of the host would do it: with
//! a fence of the kernel that says that it has not ended. vgem lends the fence.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use crate::sys::dma_buf::{Fences, IMPORT_SYNC_FILE, READ, WRITE, export_sync_file};
use crate::sys::drm::{Card, RDWR};
use crate::sys::ioctl::ioctl;
use crate::sys::memory::{How, Map};

/// Work that has not ended. The kernel gives it up by itself after ten seconds.
pub(super) struct Work {
    buffer: OwnedFd,
    size: usize,
    vgem: Card,
    fence: u32,
}

impl Work {
    /// Begins to write to a dma-buf of `size` bytes.
    pub(super) fn begin(buffer: OwnedFd, size: u64) -> Result<Self> {
        let vgem = Card::open("vgem")?;
        let object = vgem.dumb(4096)?;
        let fence = vgem.attach_fence(object.handle, true)?;
        let lender = vgem.export(object.handle, RDWR)?;
        let sync_file = export_sync_file(&lender, (READ | WRITE) as u32)?;
        let mut import = Fences {
            flags: WRITE as u32,
            fd: sync_file.as_raw_fd(),
        };
        ioctl(&buffer, IMPORT_SYNC_FILE, &mut import)?;
        Ok(Self {
            buffer,
            size: usize::try_from(size)?,
            vgem,
            fence,
        })
    }

    /// Writes and ends.
    pub(super) fn end(self, at: u64, bytes: &[u8]) -> Result<()> {
        let map = Map::new(&self.buffer, 0, self.size, How::SHARED)?;
        let at = usize::try_from(at)?;
        for (place, byte) in bytes.iter().enumerate() {
            map.set(at + place, *byte);
        }
        self.vgem
            .signal_fence(self.fence)
            .context("the fence is given up already")
    }
}
