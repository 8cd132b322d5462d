//! Descriptors that are left for messages.
//!
//! A VMM that maps memory for a guest announces it to its devices, with a
//! descriptor. A process that has none left loses such a message, and the VMM
//! waits for the answer for ever, with its VM. So memory is made, and lent to
//! a VMM, only while this many descriptors are left for what comes in.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::{Error, Result};

/// How many descriptors are left for messages.
pub const SPARE: u64 = 64;

/// Checks that enough descriptors are left beyond `newest`, which was just
/// made: the kernel gives out the lowest free number.
///
/// # Errors
/// [`Error::Sys`] with `EMFILE`.
pub fn check_spare(newest: impl AsFd) -> Result<()> {
    let number = u64::try_from(newest.as_fd().as_raw_fd()).unwrap_or(0);
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_some_and(|limit| number + SPARE >= limit) {
        return Err(Error::sys(
            "leave enough descriptors for messages",
            Errno::MFILE,
        ));
    }
    Ok(())
}
