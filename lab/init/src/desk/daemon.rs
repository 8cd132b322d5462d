//! What the kernel knows about a process (Documentation/filesystems/proc.rst).

use std::fs::{read_dir, read_to_string};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::Daemon;

/// Looks at a process.
///
/// # Errors
/// When it is gone.
pub(super) fn look(pid: i32) -> Result<Daemon> {
    let status = read_to_string(format!("/proc/{pid}/status")).context("its status")?;
    let anonymous = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("no RssAnon")?;
    Ok(Daemon {
        pid,
        descriptors: read_dir(format!("/proc/{pid}/fd"))?.count(),
        mappings: read_to_string(format!("/proc/{pid}/maps"))?.lines().count(),
        anonymous_kib: anonymous.parse()?,
    })
}

/// Kills a process with SIGKILL.
///
/// # Errors
/// When it is gone already.
pub(super) fn kill(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).context("no process has the number 0")?;
    kill_process(pid, Signal::KILL)?;
    Ok(())
}
