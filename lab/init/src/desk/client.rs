//! The scenario's end of the desk.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Answer, CONTROL, Entry, Held, PORT, Proof, Question, Shared};
use crate::boot::open_port;
use crate::virtgpu::Picture;

/// The desk beside this machine.
#[derive(Debug)]
pub struct Desk {
    port: BufReader<File>,
}

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub printed: String,
    /// Its complaints.
    pub complaints: String,
}

/// A picture as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// Width and height.
    pub size: (u32, u32),
    /// Red, green and blue of every pixel.
    pub rgb: Vec<u8>,
}

impl Shot {
    /// Where it differs from `picture`, in words.
    #[must_use]
    pub fn difference(&self, picture: Picture) -> Option<String> {
        picture.difference(self.size, &self.rgb)
    }
}

impl Desk {
    /// Finds the desk.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn open() -> Result<Self> {
        Ok(Self {
            port: BufReader::new(open_port(PORT)?),
        })
    }

    /// Runs `landbridge` on the host.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run(&mut self, arguments: &[&str]) -> Result<Ran> {
        let (answer, _) = self.ask(&Question::Run {
            arguments: owned(arguments),
        })?;
        Ok(Ran {
            status: answer.status,
            printed: answer.printed,
            complaints: answer.complaints,
        })
    }

    /// What `landbridge status --json` says.
    ///
    /// # Errors
    /// When it fails.
    pub fn status(&mut self) -> Result<Value> {
        let ran = self.run(&["status", "--json", "--control", CONTROL])?;
        if ran.status != Some(0) {
            bail!("landbridge status: {}", ran.complaints.trim());
        }
        serde_json::from_str(&ran.printed).context("the status is not JSON")
    }

    /// The status, as soon as it is `so`: what the guest's driver does in the
    /// background takes a moment. The last one seen is returned in any case.
    ///
    /// # Errors
    /// When there is no status.
    pub fn status_when(&mut self, so: impl Fn(&Value) -> bool) -> Result<Value> {
        let start = Instant::now();
        loop {
            let status = self.status()?;
            if so(&status) || start.elapsed() > Duration::from_secs(5) {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the daemon still has of a driver that left, in words.
    ///
    /// # Errors
    /// When there is no status.
    pub fn left(&mut self) -> Result<Vec<String>> {
        let status = self.status_when(|status| left(status).is_empty())?;
        Ok(left(&status))
    }

    /// What an output of a device shows, by `landbridge screenshot`.
    ///
    /// # Errors
    /// When it fails.
    pub fn screenshot(&mut self, device: usize, output: u32) -> Result<Shot> {
        let (answer, rgb) = self.ask(&Question::Screenshot { device, output })?;
        Ok(Shot {
            size: answer.size,
            rgb,
        })
    }

    /// Where what an output shows differs from `picture`, in words; none as soon as
    /// it does not. A driver has put its commands in the queue when its program
    /// goes on, and does not always wait for the answers.
    ///
    /// # Errors
    /// When there is no picture.
    pub fn difference(
        &mut self,
        device: usize,
        output: u32,
        picture: Picture,
    ) -> Result<Option<String>> {
        let start = Instant::now();
        loop {
            let shot = self.screenshot(device, output);
            let late = start.elapsed() > Duration::from_secs(2);
            match shot.map(|shot| shot.difference(picture)) {
                Ok(None) => return Ok(None),
                known if late => return known,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Writes to the host memory of the one blob of this size that the daemon
    /// has, past the daemon and the guest.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn write_blob(&mut self, size: u64, at: u64, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.to_vec();
        self.ask(&Question::WriteBlob { size, at, bytes }).map(drop)
    }

    /// Begins work on the one dma-buf of this size that the daemon has, as a
    /// device of the host would: with a fence of the kernel on it.
    ///
    /// # Errors
    /// When there is none, or more than one, or no vgem to lend the fence.
    pub fn begin_work(&mut self, size: u64) -> Result<()> {
        self.ask(&Question::BeginWork { size }).map(drop)
    }

    /// Writes these bytes as the work's result, and signals its fence.
    ///
    /// # Errors
    /// When there is no work, or it took more than ten seconds.
    pub fn end_work(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.to_vec();
        self.ask(&Question::EndWork { at, bytes }).map(drop)
    }

    /// Sets a parameter of a module of the desk's kernel:
    /// "udmabuf/parameters/size_limit_mb".
    ///
    /// # Errors
    /// When there is none.
    pub fn set_parameter(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.ask(&Question::Parameter { name, value }).map(drop)
    }

    /// Descriptors and memory of the daemon, at rest.
    ///
    /// # Errors
    /// When it is gone.
    pub fn daemon(&mut self) -> Result<Held> {
        self.at_rest(&Question::Daemon)
    }

    /// Descriptors and memory of this machine's QEMU, at rest.
    ///
    /// # Errors
    /// When it can't be found.
    pub fn vmm(&mut self) -> Result<Held> {
        self.at_rest(&Question::Vmm)
    }

    /// What a process holds once that has not changed for a while: the last
    /// client's connection is closed a moment after the client has gone. The
    /// last answer is returned in any case.
    fn at_rest(&mut self, question: &Question) -> Result<Held> {
        let start = Instant::now();
        let mut last = self.held(question)?;
        let mut same = 0;
        while same < 5 && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(40));
            let now = self.held(question)?;
            same = if now.descriptors == last.descriptors {
                same + 1
            } else {
                0
            };
            last = now;
        }
        Ok(last)
    }

    fn held(&mut self, question: &Question) -> Result<Held> {
        let (answer, _) = self.ask(question)?;
        answer.held.context("nothing about that process")
    }

    /// What QEMU's monitor answers to a command.
    ///
    /// # Errors
    /// When it refuses, or the machine has no monitor.
    pub fn qmp(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let command = command.to_owned();
        let (answer, _) = self.ask(&Question::Qmp { command, arguments })?;
        serde_json::from_str(&answer.printed).context("the monitor's answer")
    }

    /// Has this machine paused by its monitor for a while. Returns what the first
    /// GPU shows in the pause, and what the status says then.
    ///
    /// # Errors
    /// When the machine has no monitor, or there is no picture.
    pub fn pause(&mut self, pause: Duration) -> Result<(Shot, Value)> {
        let milliseconds = pause.as_millis() as u64;
        let (answer, rgb) = self.ask(&Question::Pause { milliseconds })?;
        let status = serde_json::from_str(&answer.printed)?;
        let size = answer.size;
        Ok((Shot { size, rgb }, status))
    }

    /// Which of these buffers the daemon still has, after a moment in which it may
    /// give them back.
    ///
    /// # Errors
    /// When there is no status.
    pub fn stayed(&mut self, before: &[u64]) -> Result<Vec<u64>> {
        let stayed = |status: &Value| -> Vec<u64> {
            let now = buffers(status);
            before
                .iter()
                .copied()
                .filter(|it| now.contains(it))
                .collect()
        };
        let status = self.status_when(|status| stayed(status).is_empty())?;
        Ok(stayed(&status))
    }

    /// Has the desk keep something in mind: it outlives a restart of the
    /// machine, which the scenario's process does not.
    ///
    /// # Errors
    /// When the desk is gone.
    pub fn remember(&mut self, what: Value) -> Result<()> {
        self.ask(&Question::Remember { what }).map(drop)
    }

    /// What it was last told to keep; null if nothing.
    ///
    /// # Errors
    /// When the desk is gone.
    pub fn recall(&mut self) -> Result<Value> {
        let (answer, _) = self.ask(&Question::Recall)?;
        serde_json::from_str(&answer.printed).context("what the desk remembers")
    }

    /// Kills the daemon with SIGKILL.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.ask(&Question::Kill).map(drop)
    }

    /// Starts a daemon.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn serve(&mut self, arguments: &[&str]) -> Result<()> {
        let arguments = owned(arguments);
        self.ask(&Question::Serve { arguments }).map(drop)
    }

    /// The path of a program that answers like the lab's QEMU.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn pretend_qemu(&mut self) -> Result<String> {
        Ok(self.ask(&Question::PretendQemu)?.0.printed)
    }

    /// Has an exporter of the desk's machine make a buffer of at least `bytes` and
    /// shares that with the guest.
    ///
    /// # Errors
    /// When the machine has no such exporter, or `landbridge share` fails.
    pub fn share(&mut self, exporter: &str, bytes: u64) -> Result<Shared> {
        let exporter = exporter.to_owned();
        let (answer, _) = self.ask(&Question::Share { exporter, bytes })?;
        answer.shared.context("nothing was shared")
    }

    /// The page-table entries of `addresses`, read from outside the machine. Some
    /// processor must be in the address space that holds the `proof` meanwhile.
    ///
    /// # Errors
    /// When none is, or the machine has no monitor.
    pub fn entries(&mut self, proof: Proof, addresses: Vec<u64>) -> Result<Vec<Entry>> {
        let wanted = addresses.len();
        let (answer, _) = self.ask(&Question::Entries { proof, addresses })?;
        if answer.entries.len() != wanted {
            bail!("{} entries for {wanted} addresses", answer.entries.len());
        }
        Ok(answer.entries)
    }

    fn ask(&mut self, question: &Question) -> Result<(Answer, Vec<u8>)> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        self.port.get_mut().write_all(&line)?;
        let mut line = String::new();
        self.port.read_line(&mut line).context("asking the desk")?;
        let answer: Answer = serde_json::from_str(&line).context("the desk's answer")?;
        if let Some(error) = answer.error {
            bail!("the desk: {error}");
        }
        let mut bytes = vec![0; answer.bytes];
        self.port.read_exact(&mut bytes)?;
        Ok((answer, bytes))
    }
}

/// The buffers that a status lists, by number. No number is used twice.
#[must_use]
pub fn buffers(status: &Value) -> Vec<u64> {
    let buffers = status["buffers"].as_array().into_iter().flatten();
    buffers
        .filter_map(|buffer| buffer["buffer"].as_u64())
        .collect()
}

/// What a status lists though no driver is there.
fn left(status: &Value) -> Vec<String> {
    let devices = status["devices"].as_array().into_iter().flatten();
    let mut left: Vec<String> = devices
        .flat_map(|device| {
            let counts = ["maps", "waiting"].map(|key| &device[key]);
            let counts = counts.into_iter().filter(|count| **count != 0);
            let made = ["resources", "contexts"].map(|key| device[key].as_array());
            let made = made.into_iter().flatten().flatten();
            let shown = device["scanouts"].as_array().into_iter().flatten();
            let shown = shown.map(|scanout| &scanout["shows"]);
            let shown = shown.filter(|shows| !shows.is_null());
            let all = counts.chain(made).chain(shown);
            all.map(Value::to_string).collect::<Vec<_>>()
        })
        .collect();
    let buffers = status["buffers"].as_array().into_iter().flatten();
    left.extend(buffers.map(Value::to_string));
    left
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|it| (*it).to_owned()).collect()
}
