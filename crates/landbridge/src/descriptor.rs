//! A descriptor that the command line names: of this process, or of another.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// A copy of a descriptor.
#[derive(Debug)]
pub(crate) struct Descriptor {
    copy: OwnedFd,
    target: String,
}

/// Copies descriptor `fd` of a process, this one if none is given.
pub(crate) fn copy(pid: Option<u32>, fd: u32) -> Result<Descriptor> {
    let (process, whose) = match pid {
        None => (getpid(), "this process".to_owned()),
        Some(pid) => {
            let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let process = raw.with_context(|| format!("{pid} is no process id"))?;
            (process, format!("process {pid}"))
        }
    };
    let number = i32::try_from(fd).with_context(|| format!("{fd} is no descriptor"))?;
    let open = pidfd_open(process, PidfdFlags::empty()).map_err(|errno| match errno {
        Errno::SRCH => anyhow!("no {whose}"),
        errno => anyhow!("{whose}: {errno}"),
    })?;
    let copied = pidfd_getfd(open.as_fd(), number, PidfdGetfdFlags::empty());
    let copy = match copied {
        Ok(copy) => copy,
        Err(Errno::BADF) => bail!("{whose} has no descriptor {fd}"),
        Err(Errno::PERM) => {
            bail!("descriptors of {whose} may not be copied: needs its user or CAP_SYS_PTRACE")
        }
        Err(errno) => bail!("copying descriptor {fd} of {whose}: {errno}"),
    };
    let target = fs::read_link(format!("/proc/{}/fd/{fd}", process.as_raw_pid()));
    Ok(Descriptor {
        copy,
        target: target.map_or_else(|_| "?".to_owned(), |path| path.display().to_string()),
    })
}

impl Descriptor {
    /// What it refers to, as `/proc` shows it.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Whether it is a memfd or a file of its kind: memory, which can be mapped and
    /// touched without consequences.
    pub(crate) fn is_memory(&self) -> bool {
        rustix::fs::fcntl_get_seals(&self.copy).is_ok()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.copy.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use landbridge_dmabuf::memfd::{Memfd, Options};

    use super::*;

    #[test]
    fn a_memfd_is_memory_and_a_device_is_not() {
        let memfd = Memfd::create("asked", 4096, Options::default()).unwrap();
        let fd = u32::try_from(memfd.as_fd().as_raw_fd()).unwrap();
        let descriptor = copy(None, fd).unwrap();
        assert!(descriptor.is_memory());
        assert!(descriptor.target().contains("asked"));
        let null = fs::File::open("/dev/null").unwrap();
        let fd = u32::try_from(null.as_raw_fd()).unwrap();
        assert!(!copy(None, fd).unwrap().is_memory());
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = copy(None, 1_000_000).unwrap_err().to_string();
        assert_eq!(error, "this process has no descriptor 1000000");
        assert!(copy(Some(u32::MAX), 0).is_err());
    }
}
