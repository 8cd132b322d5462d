//! Which processes hold which dma-bufs: a walk of `/proc/*/fd`.
//!
//! A process that may not be looked into (another user's, without CAP_SYS_PTRACE) is
//! counted rather than passed over in silence.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Of `task_struct.flags` (`include/linux/sched.h`): a thread of the kernel.
const PF_KTHREAD: u32 = 1 << 21;

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
            None if is_of_the_kernel(pid) => {}
            None => walk.unreadable += 1,
        }
    }
    walk
}

/// Whether it is a thread of the kernel, which has no descriptors to show.
fn is_of_the_kernel(pid: u32) -> bool {
    let bytes = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    flags(&String::from_utf8_lossy(&bytes)).is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The flags in `/proc/PID/stat`: the seventh field after the name, which is in
/// parentheses and may hold anything.
fn flags(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(6)?.parse().ok()
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
    fn threads_of_the_kernel_are_known_by_their_flags() {
        let thread = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0";
        assert_eq!(
            flags(thread).map(|flags| flags & PF_KTHREAD),
            Some(PF_KTHREAD)
        );
        let forged = "7 (a) 0 0 0 0 0 2129984) S 1 7 7 0 -1 4194304 0 0";
        assert_eq!(flags(forged).map(|flags| flags & PF_KTHREAD), Some(0));
        assert!(!is_of_the_kernel(std::process::id()));
    }

    #[test]
    fn a_process_that_is_gone_is_not_unreadable() {
        assert_eq!(walk(&[u32::MAX - 1]), Walk::default());
    }
}
