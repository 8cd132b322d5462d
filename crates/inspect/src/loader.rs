//! Puts programs into the kernel and says why one was refused.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::environment;
use crate::error::{Error, Reason, Result, Strength};
use crate::programs::Program;
use crate::sys::bpf::{self, LoadFailure};

/// The end of a verifier log that is worth showing.
const LOG_TAIL: usize = 300;
/// The kernel's own buffer for one read of an iterator.
const READ_BYTES: usize = 32 * 1024;
/// An iterator answers EAGAIN when it has worked for long without output.
const MAX_IDLE_READS: usize = 100_000;

/// Loads `program`; a refusal becomes the reason why `strength` is missing.
pub(crate) fn load(program: &Program, strength: Strength) -> Result<OwnedFd> {
    bpf::load(program).map_err(|failure| Error::Unavailable {
        strength,
        reason: explain(&failure, strength),
    })
}

fn explain(failure: &LoadFailure, strength: Strength) -> Reason {
    if failure.errno == Errno::NOSYS {
        return Reason::NoBpf;
    }
    if let Some(needs) = environment::missing_capabilities() {
        return Reason::NoCapability { needs };
    }
    // Queries call kernel functions, which only compiled programs can. That a helper is
    // refused to a process with the capabilities is lockdown's doing.
    if strength == Strength::Query && environment::jit_is_off() {
        return Reason::JitOff;
    }
    let helper_refused = failure.log.contains("bpf_probe_read_kernel#113");
    if environment::locked_down() || helper_refused {
        return Reason::Lockdown;
    }
    let said = tail(&failure.log);
    let what = format!("the kernel refused the program: {}{said}", failure.errno);
    Reason::Failed { what }
}

/// The last lines of a verifier log, on one line.
fn tail(log: &str) -> String {
    let words = |line: &str| !line.is_empty() && !line.starts_with("processed ");
    let lines: Vec<_> = log
        .lines()
        .map(str::trim)
        .filter(|line| words(line))
        .collect();
    let Some(last) = lines.last() else {
        return String::new();
    };
    let cut: String = last.chars().take(LOG_TAIL).collect();
    format!(" ({cut})")
}

/// Runs an iterator program over everything, or over one process, to its end.
pub(crate) fn collect(program: &OwnedFd, pid: Option<u32>) -> Result<Vec<u8>> {
    let iterator = bpf::iterate(program.as_fd(), pid).map_err(|errno| match errno {
        Errno::SRCH => Error::NoProcess {
            pid: pid.unwrap_or(0),
        },
        errno => Error::system("opening a BPF iterator")(errno),
    })?;
    read_to_end(std::fs::File::from(iterator))
}

fn read_to_end(mut from: impl Read) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut idle = 0;
    let mut part = vec![0; READ_BYTES];
    loop {
        match from.read(&mut part) {
            Ok(0) => return Ok(all),
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) if is_idle(&error) && idle < MAX_IDLE_READS => idle += 1,
            Err(error) => return Err(Error::io("reading a BPF iterator")(error)),
        }
    }
}

fn is_idle(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), Interrupted | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_the_verifier_said_last() {
        let log = "0: (b7) r0 = 0\nR1 invalid mem access 'scalar'\nprocessed 3 insns\n";
        assert_eq!(tail(log), " (R1 invalid mem access 'scalar')");
        assert_eq!(tail(""), "");
    }

    #[test]
    fn reads_go_on_after_an_idle_answer() {
        struct Stutter(u8);
        impl Read for Stutter {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => Err(std::io::ErrorKind::WouldBlock.into()),
                    2 => {
                        buf[..3].copy_from_slice(b"abc");
                        Ok(3)
                    }
                    3 => Err(std::io::ErrorKind::Interrupted.into()),
                    _ => Ok(0),
                }
            }
        }
        assert_eq!(read_to_end(Stutter(0)).unwrap(), b"abc");
    }
}
