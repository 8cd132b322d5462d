//! What the kernel knows about a process (Documentation/filesystems/proc.rst).

use std::fs::{read, read_dir, read_to_string};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::Held;

/// Looks at a process.
///
/// # Errors
/// When it is gone.
pub(super) fn look(pid: i32) -> Result<Held> {
    let status = read_to_string(format!("/proc/{pid}/status")).context("its status")?;
    let anonymous = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("no RssAnon")?;
    Ok(Held {
        pid,
        descriptors: read_dir(format!("/proc/{pid}/fd"))?.count(),
        mappings: read_to_string(format!("/proc/{pid}/maps"))?.lines().count(),
        anonymous_kib: anonymous.parse()?,
    })
}

/// The QEMU whose sockets are in `folder`.
///
/// # Errors
/// When there is none.
pub(super) fn vmm(folder: &Path) -> Result<i32> {
    let socket = format!("path={}/desk", folder.display());
    let is_it = |arguments: &[u8]| {
        let text = String::from_utf8_lossy(arguments);
        text.contains("qemu-system-x86_64") && text.contains(&socket)
    };
    read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid: &i32| read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| is_it(&it)))
        .context("no QEMU has its sockets here")
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
