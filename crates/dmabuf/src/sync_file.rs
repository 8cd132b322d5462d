//! Fences as descriptors: `include/uapi/linux/sync_file.h`.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::time::ClockId;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::uapi::SyncFence;

/// More fences than this in one sync_file are not asked for.
const MAX_FENCES: u32 = 4096;

/// One or more fences, as a descriptor.
#[derive(Debug)]
pub struct SyncFile {
    fd: OwnedFd,
}

/// How far the work behind a fence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not done.
    Active,
    /// Done.
    Signaled,
    /// Done, and failed with this error number (positive).
    Failed(i32),
}

impl Status {
    fn from_raw(status: i32) -> Self {
        match status {
            0 => Self::Active,
            1.. => Self::Signaled,
            error => Self::Failed(error.saturating_neg()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::Signaled => f.write_str("signaled"),
            Self::Failed(error) => write!(f, "failed with error {error}"),
        }
    }
}

/// One fence of a sync_file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The timeline it is on.
    pub timeline: String,
    /// The driver that signals it.
    pub driver: String,
    /// How far it is.
    pub status: Status,
    /// When it signalled, in `CLOCK_MONOTONIC` nanoseconds; zero before.
    pub timestamp_ns: u64,
}

/// What a sync_file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Signalled only when every fence is.
    pub status: Status,
    /// Its fences.
    pub fences: Vec<Fence>,
}

impl SyncFile {
    /// Owns a descriptor that the kernel has just made as a sync_file.
    pub(crate) fn adopt(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// A sync_file that signals when both have.
    ///
    /// # Errors
    /// [`Error::BadName`] for a name past 31 bytes, [`Error::Sys`].
    pub fn merge(&self, name: &str, other: &Self) -> Result<Self> {
        let mut bytes = [0; 32];
        match bytes.get_mut(..name.len()) {
            Some(start) if name.len() < 32 => start.copy_from_slice(name.as_bytes()),
            _ => {
                return Err(Error::BadName {
                    name: name.to_owned(),
                    reason: "is longer than 31 bytes",
                });
            }
        }
        let fd = sys::ioctl::sync_merge(self.fd.as_fd(), bytes, other.fd.as_fd())?;
        Ok(Self { fd })
    }

    /// How far it is, without the list of fences.
    ///
    /// # Errors
    /// [`Error::Sys`].
    pub fn status(&self) -> Result<Status> {
        let info = sys::ioctl::sync_file_info(self.fd.as_fd(), &mut [])?;
        Ok(Status::from_raw(info.status))
    }

    /// What it holds.
    ///
    /// # Errors
    /// [`Error::OverLimit`] for more than 4096 fences, [`Error::Sys`].
    pub fn info(&self) -> Result<Info> {
        let count = sys::ioctl::sync_file_info(self.fd.as_fd(), &mut [])?.num_fences;
        if count > MAX_FENCES {
            return Err(Error::OverLimit {
                what: "fences of a sync_file",
                asked: count.into(),
                limit: MAX_FENCES.into(),
            });
        }
        let mut fences = vec![SyncFence::default(); count as usize];
        let info = sys::ioctl::sync_file_info(self.fd.as_fd(), &mut fences)?;
        fences.truncate(info.num_fences as usize);
        Ok(Info {
            name: text(&info.name),
            status: Status::from_raw(info.status),
            fences: fences.iter().map(fence).collect(),
        })
    }

    /// Waits until it signals and says how that ended; `None` waits as long as
    /// it takes.
    ///
    /// # Errors
    /// [`Error::Timeout`], or [`Error::Sys`]. A fence that failed is no error
    /// of the wait: it is [`Status::Failed`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Status> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        sys::poll::wait(self.fd.as_fd(), PollFlags::IN, deadline)?;
        self.status()
    }

    /// Tells the drivers by when the result is wanted, so that they can speed
    /// up. A hint: nothing happens at the deadline.
    ///
    /// # Errors
    /// [`Error::Sys`]; ENOTTY before Linux 6.5.
    pub fn set_deadline(&self, deadline: Instant) -> Result<()> {
        // An `Instant` doesn't tell its clock: go by the distance from now.
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32);
        let at = now.saturating_add(deadline.saturating_duration_since(Instant::now()));
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        sys::ioctl::sync_set_deadline(self.fd.as_fd(), at)
    }
}

impl AsFd for SyncFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<SyncFile> for OwnedFd {
    fn from(file: SyncFile) -> Self {
        file.fd
    }
}

impl TryFrom<OwnedFd> for SyncFile {
    type Error = Error;

    /// Takes a descriptor if it is a sync_file, else [`Error::NotASyncFile`].
    fn try_from(fd: OwnedFd) -> Result<Self> {
        if !sys::fd::is_sync_file(fd.as_fd())? {
            return Err(Error::NotASyncFile);
        }
        Ok(Self { fd })
    }
}

fn fence(raw: &SyncFence) -> Fence {
    Fence {
        timeline: text(&raw.object),
        driver: text(&raw.driver),
        status: Status::from_raw(raw.status),
        timestamp_ns: raw.timestamp_ns,
    }
}

/// The text before the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        assert_eq!(Status::from_raw(0), Status::Active);
        assert_eq!(Status::from_raw(1), Status::Signaled);
        assert_eq!(Status::from_raw(-110), Status::Failed(110));
        assert_eq!(Status::from_raw(i32::MIN), Status::Failed(i32::MAX));
    }

    #[test]
    fn names_end_at_their_nul_or_with_the_field() {
        assert_eq!(text(b"vgem\0\0junk"), "vgem");
        assert_eq!(text(b"full"), "full");
    }

    #[test]
    fn other_descriptors_are_refused() {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let refused = SyncFile::try_from(OwnedFd::from(socket));
        assert!(matches!(refused, Err(Error::NotASyncFile)));
    }
}
