//! Work for the device and its fences: command streams
//! (`DRM_IOCTL_VIRTGPU_EXECBUFFER`), and copies between a blob and its shadow.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use landbridge_dmabuf::gem::virtgpu::{self, Area};
use rustix::io::Errno;

use super::blob::{Made, errno};
use super::card::Card;
use crate::sys::kms::{self, wire::Execbuffer};

/// What is submitted, and when.
#[derive(Debug, Default, Clone, Copy)]
pub struct Submission<'a> {
    /// Words for a renderer.
    pub commands: &'a [u32],
    /// The objects that it works on, by their handles: its fence is on them.
    pub objects: &'a [u32],
    /// What it must wait for.
    pub after: Option<BorrowedFd<'a>>,
    /// The context's ring; without one it is on the device's own timeline.
    pub ring: Option<u32>,
}

impl Card {
    /// Submits work; the fence is signalled when the device has done it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn submit(&self, submission: Submission<'_>) -> Result<OwnedFd, Errno> {
        let mut flags = Execbuffer::FENCE_OUT;
        let mut execute = Execbuffer::default();
        if let Some(fence) = submission.after {
            flags |= Execbuffer::FENCE_IN;
            execute.fence_fd = fence.as_raw_fd();
        }
        if let Some(ring) = submission.ring {
            flags |= Execbuffer::RING;
            execute.ring_idx = ring;
        }
        execute.flags = flags;
        // It was asked for.
        kms::execute(self, execute, submission.commands, submission.objects)?.ok_or(Errno::INVAL)
    }

    /// Copies the first `bytes` of a shadowed blob from the guest's memory to
    /// the host's; [`Card::wait`] waits for the end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn to_host(&self, made: Made, bytes: u32) -> Result<(), Errno> {
        virtgpu::transfer_to_host(&self.object(made.handle)?, whole(bytes)).map_err(errno)
    }

    /// Copies them from the host's memory to the guest's.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn from_host(&self, made: Made, bytes: u32) -> Result<(), Errno> {
        virtgpu::transfer_from_host(&self.object(made.handle)?, whole(bytes)).map_err(errno)
    }
}

/// A blob is one row of bytes.
fn whole(bytes: u32) -> Area {
    Area {
        x: 0,
        y: 0,
        width: bytes,
        height: 1,
        offset: 0,
        stride: 0,
    }
}
