//! A child that can't outlive us: it is killed with everything that it started
//! when its owner is dropped, and by the kernel when we die.
#![expect(
    unsafe_code,
    reason = "the parent-death signal must be set between fork and exec"
)]

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, kill_process_group, set_parent_process_death_signal, test_kill_process_group,
};

/// A child process and its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` in a process group of its own.
    ///
    /// The kernel kills it when the thread that calls this ends: call it from
    /// one that lives as long as the machine.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(mut command: Command) -> Result<Self> {
        command.process_group(0);
        let die_with_us = || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        };
        // SAFETY: the closure runs between fork and exec and makes one prctl
        // system call: it takes no lock, does not allocate, and touches no
        // memory but its own stack.
        unsafe { command.pre_exec(die_with_us) };
        Ok(Self {
            child: command.spawn()?,
        })
    }

    /// Kills the whole group.
    pub fn kill(&mut self) {
        // A group whose last member is gone can't be killed, and need not be.
        let _ = kill_process_group(self.pid(), Signal::KILL);
    }

    /// Kills the whole group, waits for it, and says whether it is gone.
    pub fn end(&mut self) -> bool {
        self.kill();
        let _ = self.child.wait();
        // Members other than the child are reaped by whoever adopted them, a
        // moment later.
        (0..1000).any(|_| {
            if test_kill_process_group(self.pid()) == Err(Errno::SRCH) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
            false
        })
    }

    /// Whether it has ended, by itself, within `patience`.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let start = Instant::now();
        loop {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            if start.elapsed() >= patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The process's number, which is its group's too.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::process::test_kill_process_group;

    use super::Process;

    #[test]
    fn nothing_of_an_ended_process_is_left() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & sleep 1000"]);
        let mut process = Process::start(command).expect("a shell");
        assert!(!process.ends_within(Duration::from_millis(50)));
        assert!(process.end());
    }

    #[test]
    fn a_dropped_process_is_dead() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let process = Process::start(command).expect("a process");
        let group = process.pid();
        drop(process);
        assert_eq!(test_kill_process_group(group), Err(Errno::SRCH));
    }
}
