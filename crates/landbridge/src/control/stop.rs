//! Telling threads that wait for a socket to end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// Asks threads to end. Clones are the same; once asked, it stays asked.
#[derive(Debug, Clone)]
pub struct Stop(Arc<OwnedFd>);

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The thread is to end.
    Stop,
    /// The descriptor is readable, or its other end is gone.
    Ready,
    /// The time ran out.
    Timeout,
}

impl Stop {
    /// Nobody is asked to end yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?)))
    }

    /// Asks all who wait, now or later, to end.
    pub fn ask(&self) {
        // Nobody reads it, so it stays readable. It can't be full: that takes
        // 2^64 - 1 calls.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Waits for `fd`, at most for `limit`.
    pub fn wait_for(&self, fd: impl AsFd, limit: Option<Duration>) -> io::Result<Woken> {
        self.wait(Some(fd.as_fd()), limit)
    }

    /// Waits for `limit`; true when the thread is to end.
    pub fn pause(&self, limit: Duration) -> bool {
        matches!(self.wait(None, Some(limit)), Ok(Woken::Stop))
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        self.pause(Duration::ZERO)
    }

    fn wait(
        &self,
        fd: Option<std::os::fd::BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> io::Result<Woken> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let left = deadline.map(|deadline| {
                Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or(
                    Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    },
                )
            });
            let fds = [Some(self.0.as_fd()), fd];
            let mut fds: Vec<_> = fds
                .iter()
                .flatten()
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return Ok(Woken::Timeout),
                Ok(_) if !fds[0].revents().is_empty() => return Ok(Woken::Stop),
                Ok(_) => return Ok(Woken::Ready),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_wait_ends_for_a_reason() {
        let stop = Stop::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        let soon = Some(Duration::from_millis(1));
        assert_eq!(stop.wait_for(&near, soon).unwrap(), Woken::Timeout);
        far.write_all(b"x").unwrap();
        assert_eq!(stop.wait_for(&near, None).unwrap(), Woken::Ready);
        assert!(!stop.is_asked());
        stop.clone().ask();
        assert_eq!(stop.wait_for(&near, None).unwrap(), Woken::Stop);
        assert!(stop.is_asked(), "it stays asked");
    }
}
