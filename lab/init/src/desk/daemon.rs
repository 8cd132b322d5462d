//! What the kernel knows about a process (Documentation/filesystems/proc.rst).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, read, read_dir, read_link, read_to_string};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::SeekFrom;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};

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
    let anonymous: u64 = anonymous.parse()?;
    let smaps = read_to_string(format!("/proc/{pid}/smaps"))?;
    Ok(Held {
        pid,
        descriptors: read_dir(format!("/proc/{pid}/fd"))?.count(),
        mappings: read_to_string(format!("/proc/{pid}/maps"))?.lines().count(),
        anonymous_kib: anonymous.saturating_sub(translated_kib(&smaps)),
    })
}

/// What an emulator has translated of its guest's code, in KiB: anonymous memory
/// that is written and executed. It grows for as long as the guest does anything
/// for the first time, in huge pages at that, and says nothing of what is held.
fn translated_kib(smaps: &str) -> u64 {
    let mut translated = false;
    let mut sum = 0;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:"), Some(kib)) if translated => sum += kib.parse().unwrap_or(0),
            (Some(range), Some(permissions)) if !range.ends_with(':') => {
                translated = permissions.starts_with("rwx");
            }
            _ => {}
        }
    }
    sum
}

/// The memfd of the one host blob of this size that the process has.
///
/// # Errors
/// When it has none, or several.
pub(super) fn blob(pid: i32, size: u64) -> Result<File> {
    // By inode: what is mapped in the window comes back from the VMM as memory
    // of the machine, in descriptors of its own.
    let mut found = BTreeMap::new();
    for entry in read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let link = read_link(entry.path()).unwrap_or_default();
        if link.to_string_lossy().starts_with("/memfd:virtio-gpu blob") {
            let path = entry.path();
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let metadata = file.metadata()?;
            if metadata.len() == size {
                found.insert(metadata.ino(), file);
            }
        }
    }
    ensure!(found.len() == 1, "{} blobs of {size} bytes", found.len());
    found.pop_first().map(|(_, file)| file).context("no blob")
}

/// The one dma-buf of this size that the process has.
///
/// # Errors
/// When it has none, or several, or may not be robbed of it.
pub(super) fn dma_buf(pid: i32, size: u64) -> Result<OwnedFd> {
    let process = Pid::from_raw(pid).context("no process has the number 0")?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    let mut found = BTreeMap::new();
    for entry in read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let link = read_link(entry.path()).unwrap_or_default();
        if link.to_string_lossy().starts_with("/dmabuf") {
            let number = entry.file_name().to_string_lossy().parse()?;
            let file = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            if rustix::fs::seek(&file, SeekFrom::End(0))? == size {
                found.insert(stat.st_ino, file);
            }
        }
    }
    ensure!(found.len() == 1, "{} dma-bufs of {size} bytes", found.len());
    found
        .pop_first()
        .map(|(_, file)| file)
        .context("no dma-buf")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_and_executed_is_translated_code() {
        let smaps = "\
7f0000000000-7f0040000000 rwxp 00000000 00:00 0 \nSize:            1048576 kB
Anonymous:         40960 kB\nVmFlags: rd wr ex mr mw me ac hg \n\
7f0040000000-7f0050000000 rw-p 00000000 00:00 0 [heap]\nAnonymous:       100 kB\n\
7f0050000000-7f0060000000 r-xp 00000000 00:00 9 /bin/x\nAnonymous:         3 kB\n";
        assert_eq!(translated_kib(smaps), 40_960);
    }
}
