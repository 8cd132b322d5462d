//! Waiting for a descriptor, until a deadline.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Waits until `fd` reports one of `events`; `None` waits as long as it takes.
pub(crate) fn wait(fd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> Result<()> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(0) => return Err(Error::Timeout),
            Ok(_) if fds[0].revents().intersects(events) => return Ok(()),
            Ok(_) => {
                let what = format!("poll reports {:?}", fds[0].revents());
                return Err(Error::sys("poll", std::io::Error::other(what)));
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(Error::sys("poll", e)),
        }
    }
}
