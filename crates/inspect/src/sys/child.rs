//! A child process that can be lost: it maps a buffer and touches it.
//!
//! An exporter's mmap may block, its fault handler may raise SIGBUS, and the mmap
//! itself has side effects. None of that may reach the caller, so a child does it,
//! under a deadline, and is killed once the question is answered.
//!
//! The clone copies the caller's page tables: cheap for a small process, dear for
//! one with much private memory, which better asks the broker.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, pidfd_send_signal};

use super::touch::{self, Origin};
use crate::error::{Error, Result, errno_of};

/// How long a killed child may take to go before it is left to itself.
const REAP: Duration = Duration::from_millis(250);

/// What a descriptor must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// A dma-buf; CPU access is bracketed.
    DmaBuf,
    /// Anything that can be mapped shared, such as a memfd.
    Memory,
    /// Memory whose exporter never comes back from mmap: for tests.
    #[cfg(test)]
    Stuck,
}

impl Nature {
    /// All of it: the only mapping that every exporter gets right.
    pub(crate) fn whole(self) -> Wanted {
        Wanted {
            nature: self,
            offset: 0,
        }
    }
}

/// What the child is to map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) nature: Nature,
    /// Where in the buffer the mapping starts, in whole pages; it goes to the end.
    pub(crate) offset: i64,
}

/// How far the child got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stage {
    /// Mapped, touched and waiting.
    Ready = 0,
    /// Not a dma-buf.
    Check = 1,
    /// Its size could not be told.
    Size = 2,
    /// mmap failed.
    Map = 3,
    /// SYNC START failed.
    Begin = 4,
    /// SYNC END failed.
    End = 5,
    /// The socket failed.
    Receive = 6,
    /// The message was not one request with one descriptor.
    Request = 7,
}

/// What the child tells its parent, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) stage: Stage,
    pub(crate) errno: i32,
    /// Where the buffer is mapped in the child.
    pub(crate) address: u64,
    /// Bytes mapped.
    pub(crate) bytes: u64,
}

const REPORT_BYTES: usize = 24;

impl Report {
    pub(super) fn encode(self) -> [u8; REPORT_BYTES] {
        let mut bytes = [0; REPORT_BYTES];
        bytes[..4].copy_from_slice(&(self.stage as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.errno.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.address.to_ne_bytes());
        bytes[16..].copy_from_slice(&self.bytes.to_ne_bytes());
        bytes
    }

    fn decode(bytes: [u8; REPORT_BYTES]) -> Option<Self> {
        let word = |at: usize| bytes[at..].first_chunk::<4>().copied();
        let long = |at: usize| bytes[at..].first_chunk::<8>().copied();
        let stage = match u32::from_ne_bytes(word(0)?) {
            0 => Stage::Ready,
            1 => Stage::Check,
            2 => Stage::Size,
            3 => Stage::Map,
            4 => Stage::Begin,
            5 => Stage::End,
            6 => Stage::Receive,
            7 => Stage::Request,
            _ => return None,
        };
        Some(Self {
            stage,
            errno: i32::from_ne_bytes(word(4)?),
            address: u64::from_ne_bytes(long(8)?),
            bytes: u64::from_ne_bytes(long(16)?),
        })
    }
}

/// The child and the means to be rid of it.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    pidfd: OwnedFd,
    report: OwnedFd,
    reaped: bool,
}

impl Child {
    /// A child that maps and touches `buffer`.
    pub(crate) fn touching(buffer: BorrowedFd<'_>, wanted: Wanted) -> Result<Self> {
        Self::spawn(Origin::Descriptor(buffer.as_raw_fd()), wanted)
    }

    /// A child that takes its buffer from `socket`.
    pub(crate) fn serving(socket: BorrowedFd<'_>, nature: Nature) -> Result<Self> {
        Self::spawn(Origin::Socket(socket.as_raw_fd()), nature.whole())
    }

    fn spawn(origin: Origin, wanted: Wanted) -> Result<Self> {
        let (report, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(Error::system("pipe"))?;
        let mut pidfd: libc::c_int = -1;
        // No exit signal: the caller's SIGCHLD handling never hears of this child.
        let flags = libc::CLONE_PIDFD as libc::c_ulong;
        // SAFETY: a plain fork with a pidfd: without CLONE_VM the child runs on a copy
        // of this stack (stack argument 0), and the third argument, in the same place on
        // x86-64 and arm64, points to a c_int that lives through the call. The child
        // only makes system calls and never returns from `touch::main`.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
        if pid == 0 {
            touch::main(origin, wanted, tell.as_raw_fd());
        }
        let pid = match u32::try_from(pid) {
            Ok(pid) if pidfd >= 0 => pid,
            _ => {
                let error = std::io::Error::last_os_error();
                return Err(Error::io("clone")(error));
            }
        };
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Self {
            pid,
            pidfd,
            report,
            reaped: false,
        })
    }

    /// The child's process id, in the caller's namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Becomes readable when the child has reported or died.
    pub(crate) fn report_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// Waits for the report.
    ///
    /// # Errors
    /// [`Error::Timeout`] past `limit`, [`Error::Touch`] if a signal ended the child,
    /// and the exporter's own error for the stage that failed.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Report> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if poll_in(self.report.as_fd(), left)? {
                return self.take_report();
            }
            if left.is_zero() {
                return Err(Error::Timeout { limit });
            }
        }
    }

    /// The report that has arrived, or why there will be none.
    pub(crate) fn take_report(&mut self) -> Result<Report> {
        let mut bytes = [0; REPORT_BYTES];
        // One write of fewer than PIPE_BUF bytes arrives whole.
        let got = rustix::io::retry_on_intr(|| rustix::io::read(&self.report, &mut bytes));
        if got.map_err(Error::system("read"))? != REPORT_BYTES {
            let signal = self.reap(REAP).unwrap_or(0);
            return Err(Error::Touch { signal });
        }
        let report = Report::decode(bytes).ok_or(Error::Record {
            what: "the child's report",
        })?;
        let errno = errno_of(report.errno);
        match report.stage {
            Stage::Ready => Ok(report),
            Stage::Check => Err(Error::NotDmaBuf),
            Stage::Map => Err(Error::Mmap(errno)),
            Stage::Begin | Stage::End => Err(Error::CpuAccess(errno)),
            Stage::Size => Err(Error::System {
                call: "lseek of the buffer",
                errno,
            }),
            Stage::Receive => Err(Error::System {
                call: "recvmsg",
                errno,
            }),
            Stage::Request => Err(Error::Record {
                what: "not one request with one descriptor",
            }),
        }
    }

    /// Kills the child without waiting.
    pub(crate) fn kill(&self) {
        // It may have died already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Reaps a child that ends within `limit`; the signal that ended it, if one did.
    /// `None` if it still lives.
    pub(crate) fn reap(&mut self, limit: Duration) -> Option<i32> {
        if self.reaped || !poll_in(self.pidfd.as_fd(), limit).unwrap_or(false) {
            return self.reaped.then_some(0);
        }
        // SAFETY: zeroed is a valid siginfo_t, and it is writable for the call.
        let mut info = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
        let id = self.pidfd.as_raw_fd().cast_unsigned();
        // Clone without an exit signal is waited for only with __WALL.
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
        // SAFETY: `info` is writable, the pidfd is open.
        let status = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, options) };
        self.reaped = status == 0;
        let by_signal = matches!(info.si_code, libc::CLD_KILLED | libc::CLD_DUMPED);
        // SAFETY: waitid fills the SIGCHLD member, whose status this reads.
        let value = unsafe { info.si_status() };
        Some(if by_signal { value } else { 0 })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            // A child stuck in its exporter can't be waited for; it stays a zombie
            // until the caller ends, which is the price of not hanging with it.
            let _ = self.reap(REAP);
        }
    }
}

fn poll_in(fd: BorrowedFd<'_>, limit: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::system("poll")(errno)),
    }
}
