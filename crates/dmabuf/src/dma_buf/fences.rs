//! The fences on a dma-buf, as sync_files and as readiness.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::PollFlags;

use crate::dma_buf::{DmaBufOps, FdInfo};
use crate::error::{Error, Result};
use crate::sync_file::SyncFile;
use crate::sys;

/// What a fence stands for, or what the caller is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FenceUse {
    /// Reading (`DMA_BUF_SYNC_READ`). Export: what a reader must wait for.
    /// Import: the fence is a reader's.
    Read,
    /// Writing (`DMA_BUF_SYNC_WRITE`). Export: what a writer must wait for,
    /// readers included. Import: the fence is a writer's.
    Write,
}

impl FenceUse {
    fn bits(self) -> u32 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
        }
    }
}

/// What a buffer can be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// All writers are done (`POLLIN`).
    Read,
    /// All writers and readers are done (`POLLOUT`).
    Write,
}

/// What is in the way of it.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "written",
            Self::Write => "read or written",
        })
    }
}

impl Readiness {
    fn events(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::IN,
            Self::Write => PollFlags::OUT,
        }
    }
}

impl DmaBufOps {
    /// The fences that somebody with this use must wait for, as they are now;
    /// one that has already signalled if there are none.
    ///
    /// # Errors
    /// [`Error::Sys`]; ENOTTY before Linux 6.0.
    pub fn export_sync_file(&self, usage: FenceUse) -> Result<SyncFile> {
        let fd = sys::ioctl::dma_buf_export_sync_file(self.quietly(), usage.bits())?;
        Ok(SyncFile::adopt(fd))
    }

    /// Adds the fence of `file` to the buffer: others wait for it.
    ///
    /// # Errors
    /// [`Error::Sys`]; ENOTTY before Linux 6.0.
    pub fn import_sync_file(&self, usage: FenceUse, file: &SyncFile) -> Result<()> {
        sys::ioctl::dma_buf_import_sync_file(self.quietly(), usage.bits(), file.as_fd())
    }

    /// Whether the buffer is ready now. An idle one is ready for both.
    ///
    /// # Errors
    /// [`Error::Sys`] if `poll` fails.
    pub fn is_ready(&self, readiness: Readiness) -> Result<bool> {
        match sys::poll::wait(self.quietly(), readiness.events(), Some(Instant::now())) {
            Ok(()) => Ok(true),
            Err(Error::Timeout) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Waits until the buffer is ready; without a deadline, as long as that
    /// takes.
    ///
    /// # Errors
    /// [`Error::Fenced`], or [`Error::Sys`] if `poll` fails.
    pub fn wait_until_ready(&self, readiness: Readiness, deadline: Option<Instant>) -> Result<()> {
        let began = Instant::now();
        match sys::poll::wait(self.quietly(), readiness.events(), deadline) {
            Err(Error::Timeout) => Err(Error::Fenced {
                buffer: self.describe(),
                readiness,
                waited: began.elapsed(),
            }),
            waited => waited,
        }
    }

    /// Which buffer it is, for people.
    fn describe(&self) -> String {
        let inode = self.identity().map_or(0, |identity| identity.inode);
        match self.info() {
            Ok(FdInfo {
                exporter,
                name: Some(name),
                ..
            }) => format!("{name:?}, dma-buf {inode} of {exporter},"),
            Ok(FdInfo { exporter, .. }) => format!("dma-buf {inode} of {exporter}"),
            // Without procfs.
            Err(_) => format!("dma-buf {inode}"),
        }
    }
}
