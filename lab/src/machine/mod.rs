//! One machine: a QEMU process, its console, and the events that it reports.

mod arguments;
mod process;
mod reader;

pub use arguments::{Board, Initrd, Shape};
pub use process::Process;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use landbridge_lab_init::report::Event;
use landbridge_lab_init::scenario::Beside;

use crate::artifacts::Qemu;

/// What comes from a machine.
#[derive(Debug)]
pub enum Heard {
    /// An event of the init or of a scenario.
    Event(Event),
    /// A line of the console.
    Console(String),
    /// The machine closed its end: it is gone.
    Closed,
}

/// A running machine. Dropping it kills QEMU and every program beside it.
#[derive(Debug)]
pub struct Machine {
    qemu: Process,
    // Held for their Drop: a program beside the machine lives as long.
    beside: Vec<Process>,
    heard: Receiver<Heard>,
    console: Vec<String>,
    shown: bool,
    // Held for its Drop: the folder with the sockets.
    _folder: tempfile::TempDir,
}

impl Machine {
    /// Starts the programs beside it, then QEMU.
    ///
    /// # Errors
    /// When a program does not get ready or QEMU can't be started.
    pub fn start(qemu: &Qemu, shape: &Shape, programs: &Path, beside: &[Beside]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lab-").tempdir()?;
        let beside = beside
            .iter()
            .map(|program| start_beside(program, programs, folder.path()))
            .collect::<Result<Vec<_>>>()?;
        let mut command = command(qemu, shape, folder.path())?;
        let (report, far_report) = UnixStream::pair()?;
        let (console, far_console) = UnixStream::pair()?;
        command
            .stdin(OwnedFd::from(far_report))
            .stderr(OwnedFd::from(far_console.try_clone()?))
            .stdout(OwnedFd::from(far_console));
        let (sender, heard) = channel();
        reader::events(report, sender.clone());
        reader::console(console, sender);
        let qemu = Process::start(command).context("starting QEMU")?;
        Ok(Self {
            qemu,
            beside,
            heard,
            console: Vec::new(),
            shown: false,
            _folder: folder,
        })
    }

    /// Runs one on this terminal until it is switched off.
    ///
    /// # Errors
    /// When QEMU can't be started.
    pub fn interact(qemu: &Qemu, shape: &Shape) -> Result<ExitStatus> {
        let folder = tempfile::Builder::new().prefix("lab-").tempdir()?;
        let status = command(qemu, shape, folder.path())?.status();
        status.context("starting QEMU")
    }

    /// The next thing heard, or nothing when `until` has passed.
    pub fn hear(&mut self, until: Instant) -> Option<Heard> {
        let patience = until.saturating_duration_since(Instant::now());
        match self.heard.recv_timeout(patience) {
            Ok(Heard::Console(line)) => {
                if self.shown {
                    eprintln!("| {line}");
                }
                self.console.push(line.clone());
                Some(Heard::Console(line))
            }
            Ok(heard) => Some(heard),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Heard::Closed),
        }
    }

    /// Shows the console on standard error as it comes.
    #[must_use]
    pub fn shown(mut self, shown: bool) -> Self {
        self.shown = shown;
        self
    }

    /// Every line of the console so far.
    #[must_use]
    pub fn console(&self) -> &[String] {
        &self.console
    }

    /// Kills QEMU and everything beside it, and says whether nothing is left.
    pub fn end(&mut self) -> bool {
        let mut gone = self.qemu.end();
        for process in &mut self.beside {
            gone &= process.end();
        }
        gone
    }

    /// Kills QEMU; [`Heard::Closed`] follows.
    pub fn kill(&mut self) {
        self.qemu.kill();
    }

    /// Waits for QEMU to end by itself.
    pub fn wait_until_off(&mut self, patience: Duration) -> bool {
        self.qemu.ends_within(patience)
    }
}

/// QEMU's command line for `shape`.
fn command(qemu: &Qemu, shape: &Shape, folder: &Path) -> Result<Command> {
    let command_line = qemu.command(qemu.tree.as_deref());
    let mut command = Command::new(&command_line[0]);
    command.args(&command_line[1..]);
    command.args(shape.arguments(folder)?);
    if let Some(tree) = &qemu.tree {
        let (name, value) = Qemu::environment(tree);
        command.env(name, value);
    }
    Ok(command)
}

fn start_beside(beside: &Beside, programs: &Path, folder: &Path) -> Result<Process> {
    let at = |text: &str| text.replace("{run}", &folder.display().to_string());
    let mut command = Command::new(programs.join(beside.program));
    command.args(beside.args.iter().map(|argument| at(argument)));
    let mut process =
        Process::start(command).with_context(|| format!("starting {}", beside.program))?;
    let ready = PathBuf::from(at(beside.ready));
    let start = Instant::now();
    while !ready.exists() {
        if process.ends_within(Duration::from_millis(5)) {
            bail!("{} ended before it was ready", beside.program);
        }
        if start.elapsed() > Duration::from_secs(10) {
            bail!("{} was not ready within 10 s", beside.program);
        }
    }
    Ok(process)
}
