//! Which processes hold which dma-bufs: a walk of `/proc/*/fd`.
//!
//! A process that may not be looked into (another user's, without CAP_SYS_PTRACE) is
//! counted rather than passed over in silence.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// A descriptor of a dma-buf in some process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldFd {
    /// The process.
    pub pid: u32,
    /// The descriptor's number there.
    pub fd: u32,
    /// The buffer's inode.
    pub inode: u64,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// All descriptors of dma-bufs that could be seen.
    pub fds: Vec<HeldFd>,
    /// Processes whose descriptors could not be read.
    pub unreadable: usize,
}

/// All process ids.
#[must_use]
pub fn processes() -> Vec<u32> {
    numbers("/proc").unwrap_or_default()
}

/// The names of a directory that are numbers.
fn numbers(path: &str) -> Option<Vec<u32>> {
    let entries = fs::read_dir(path).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Some(names.collect())
}

/// The name of a process, as `ps` shows it.
#[must_use]
pub fn command(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// Looks into the given processes.
#[must_use]
pub fn walk(pids: &[u32]) -> Walk {
    let mut walk = Walk::default();
    for &pid in pids {
        match held_by(pid) {
            Some(fds) => walk.fds.extend(fds),
            // One that has ended meanwhile holds nothing.
            None if !fs::exists(format!("/proc/{pid}")).unwrap_or(false) => {}
            None => walk.unreadable += 1,
        }
    }
    walk
}

fn held_by(pid: u32) -> Option<Vec<HeldFd>> {
    let fds = numbers(&format!("/proc/{pid}/fd"))?;
    let held = fds.into_iter().filter_map(|fd| {
        let path = format!("/proc/{pid}/fd/{fd}");
        // The link's text is made without calling the file, unlike stat: only dma-bufs,
        // whose stat can't block, are asked further.
        let target = fs::read_link(&path).ok()?;
        target
            .as_os_str()
            .as_encoded_bytes()
            .strip_prefix(b"/dmabuf:")?;
        let inode = fs::metadata(&path).ok()?.ino();
        Some(HeldFd { pid, fd, inode })
    });
    Some(held.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_look_at_itself() {
        let pid = std::process::id();
        assert!(processes().contains(&pid));
        assert!(!command(pid).is_empty());
        assert_eq!(walk(&[pid]).unreadable, 0);
    }

    #[test]
    fn a_process_that_is_gone_is_not_unreadable() {
        assert_eq!(walk(&[u32::MAX - 1]), Walk::default());
    }
}
