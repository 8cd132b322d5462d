//! A process that maps memory which it was lent, never lets go of it, and says
//! what it sees: the other side of a revocation.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::answers::inherited;
use crate::sys::memory::{How, Map};
use crate::sys::privileges::{Who, run_as};

/// The first argument of this program when it holds out; the second is a
/// descriptor, the third how many bytes of it to map.
pub const ARGUMENT: &str = "--holdout";

/// The process, seen from outside; killed when dropped.
#[derive(Debug)]
pub struct Holdout {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Holdout {
    /// Starts it, as an ordinary user, with `len` bytes of `memory`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(memory: BorrowedFd<'_>, len: u64) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command
            .args([ARGUMENT, &memory.as_raw_fd().to_string(), &len.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        run_as(&mut command, Who::User, &[memory]);
        let mut child = command.spawn().context("starting a holdout")?;
        let questions = child.stdin.take().context("no pipe")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self {
            child,
            questions,
            answers,
        })
    }

    /// The byte that it sees at `at`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn sees(&mut self, at: usize) -> Result<u8> {
        writeln!(self.questions, "{at}")?;
        self.answer()
    }

    /// Has it write a byte at `at`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn writes(&mut self, at: usize, byte: u8) -> Result<()> {
        writeln!(self.questions, "{at} {byte}")?;
        self.answer().map(drop)
    }

    fn answer(&mut self) -> Result<u8> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().context("the holdout is gone")
    }
}

impl Drop for Holdout {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Holds out until nobody asks any more.
///
/// # Errors
/// When the memory can't be mapped.
pub fn run(descriptor: &str, len: &str) -> Result<()> {
    let memory = inherited(descriptor)?;
    let map = Map::new(&memory, 0, len.parse()?, How::SHARED)?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let at = words.next().unwrap_or_default().parse()?;
        if let Some(byte) = words.next() {
            map.set(at, byte.parse()?);
        }
        println!("{}", map.get(at));
    }
    Ok(())
}
