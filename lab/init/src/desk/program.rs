//! The desk itself.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use landbridge_inspect::{Config, Inspector};

use super::monitor::Monitor;
use super::work::Work;
use super::{Answer, CONTROL, Question, RUN, Shared, daemon};
use crate::exporters::{Access, Exported, of_this_machine};
use crate::sys::memory::{How, Map, PAGE};

/// How long the programs beside a machine may take to be ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves one machine from `folder`, the run's own, until it hangs up; `alone`
/// when no daemon is to be waited for.
///
/// # Errors
/// When the daemon is never ready, or the socket can't be made or breaks.
pub fn run(folder: &str, alone: bool) -> Result<()> {
    let mut desk = Program {
        folder: PathBuf::from(folder),
        landbridge: std::env::current_exe()?.with_file_name("landbridge"),
        started: Vec::new(),
        monitor: None,
        shared: Vec::new(),
        work: None,
        remembered: serde_json::Value::Null,
    };
    // The machine is started when this socket is there, and connects to the
    // daemon's at once.
    if !alone {
        desk.wait_until_served()?;
    }
    let (socket, _) = UnixListener::bind(desk.folder.join("desk"))?.accept()?;
    let mut answers = socket.try_clone()?;
    for line in BufReader::new(socket).lines() {
        let question = serde_json::from_str(&line?)?;
        let (mut answer, bytes) = desk.answer(&question).unwrap_or_else(|error| {
            let error = Some(format!("{error:#}"));
            let answer = Answer {
                error,
                ..Answer::default()
            };
            (answer, Vec::new())
        });
        answer.bytes = bytes.len();
        writeln!(answers, "{}", serde_json::to_string(&answer)?)?;
        answers.write_all(&bytes)?;
    }
    Ok(())
}

struct Program {
    folder: PathBuf,
    landbridge: PathBuf,
    started: Vec<Child>,
    monitor: Option<Monitor>,
    // Held for as long as the guest lives.
    shared: Vec<(Exported, Map)>,
    work: Option<Work>,
    remembered: serde_json::Value,
}

impl Program {
    fn answer(&mut self, question: &Question) -> Result<(Answer, Vec<u8>)> {
        let mut answer = Answer::default();
        let mut bytes = Vec::new();
        match question {
            Question::Run { arguments } => answer = self.run(arguments)?,
            Question::Screenshot { device, output } => {
                (answer.size, bytes) = self.screenshot(*device, *output)?;
            }
            Question::Daemon => answer.held = Some(daemon::look(self.pid()?)?),
            Question::Vmm => answer.held = Some(daemon::look(daemon::vmm(&self.folder)?)?),
            Question::WriteBlob { size, at, bytes } => {
                daemon::blob(self.pid()?, *size)?.write_all_at(bytes, *at)?;
            }
            Question::BeginWork { size } => {
                let buffer = daemon::dma_buf(self.pid()?, *size)?;
                self.work = Some(Work::begin(buffer, *size)?);
            }
            Question::EndWork { at, bytes } => {
                let work = self.work.take().context("no work has begun")?;
                work.end(*at, bytes)?;
            }
            Question::Parameter { name, value } => {
                fs::write(Path::new("/sys/module").join(name), value)?;
            }
            Question::Kill => self.kill()?,
            Question::Serve { arguments } => self.serve(arguments)?,
            Question::Qmp { command, arguments } => {
                let arguments = serde_json::from_str(&self.at(&arguments.to_string()))?;
                answer.printed = self.monitor()?.run(command, &arguments)?.to_string();
            }
            Question::Pause { milliseconds } => {
                (answer, bytes) = self.pause(Duration::from_millis(*milliseconds))?;
            }
            Question::Remember { what } => self.remembered = what.clone(),
            Question::Recall => answer.printed = self.remembered.to_string(),
            Question::PretendQemu => {
                answer.printed = self.pretend_qemu()?.display().to_string();
            }
            Question::Share { exporter, bytes } => {
                answer.shared = Some(self.share(exporter, *bytes)?);
            }
            Question::Entries { proof, addresses } => {
                answer.entries = self.monitor()?.entries(proof, addresses)?;
            }
        }
        Ok((answer, bytes))
    }

    /// The mapping is made and written before the buffer is shared, so that the
    /// guest's first look is at pages that are there.
    fn share(&mut self, exporter: &str, bytes: u64) -> Result<Shared> {
        let buffer = of_this_machine(exporter)?.export(bytes, Access::ReadWrite)?;
        let map = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
        for page in 0..map.len() / PAGE {
            map.set(page * PAGE, (page + 1) as u8);
        }
        let inspector = Inspector::open(Config::default());
        let info = inspector.mapping(None, map.address() as u64)?.info;
        let said = self.landbridge(&[
            "share",
            "--control",
            CONTROL,
            "--pid",
            &std::process::id().to_string(),
            "--fd",
            &buffer.as_fd().as_raw_fd().to_string(),
            "--json",
        ])?;
        self.shared.push((buffer, map));
        Ok(Shared {
            said: serde_json::from_str(&said)?,
            info,
        })
    }

    fn monitor(&mut self) -> Result<&mut Monitor> {
        let monitor = match self.monitor.take() {
            Some(monitor) => monitor,
            None => Monitor::connect(&self.folder.join("qmp"))?,
        };
        Ok(self.monitor.insert(monitor))
    }

    /// Pauses the machine, and lets it go on whatever comes in between.
    fn pause(&mut self, pause: Duration) -> Result<(Answer, Vec<u8>)> {
        let nothing = serde_json::json!({});
        self.monitor()?.run("stop", &nothing)?;
        std::thread::sleep(pause);
        let seen = self
            .landbridge(&["status", "--json", "--control", CONTROL])
            .and_then(|printed| Ok((printed, self.screenshot(0, 0)?)));
        self.monitor()?.run("cont", &nothing)?;
        let (printed, (size, rgb)) = seen?;
        let answer = Answer {
            printed,
            size,
            ..Answer::default()
        };
        Ok((answer, rgb))
    }

    fn at(&self, text: &str) -> String {
        text.replace(RUN, &self.folder.display().to_string())
    }

    fn run(&self, arguments: &[String]) -> Result<Answer> {
        let output = Command::new(&self.landbridge)
            .args(arguments.iter().map(|argument| self.at(argument)))
            .stdin(Stdio::null())
            .output()
            .context("starting landbridge")?;
        Ok(Answer {
            status: output.status.code(),
            printed: String::from_utf8_lossy(&output.stdout).into_owned(),
            complaints: String::from_utf8_lossy(&output.stderr).into_owned(),
            ..Answer::default()
        })
    }

    fn landbridge(&self, arguments: &[&str]) -> Result<String> {
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let ran = self.run(&arguments)?;
        if ran.status != Some(0) {
            bail!("{}: {}", arguments.join(" "), ran.complaints.trim());
        }
        Ok(ran.printed)
    }

    fn screenshot(&self, device: usize, output: u32) -> Result<((u32, u32), Vec<u8>)> {
        let file = self.folder.join("screenshot.png");
        self.landbridge(&[
            "screenshot",
            &file.display().to_string(),
            "--control",
            CONTROL,
            "--device",
            &device.to_string(),
            "--output",
            &output.to_string(),
        ])?;
        let mut reader = png::Decoder::new(BufReader::new(fs::File::open(&file)?)).read_info()?;
        let mut bytes = vec![0; reader.output_buffer_size().context("a picture too large")?];
        let info = reader.next_frame(&mut bytes)?;
        bytes.truncate(info.buffer_size());
        let rgb = match info.color_type {
            png::ColorType::Rgb => bytes,
            png::ColorType::Rgba => bytes
                .chunks_exact(4)
                .flat_map(|pixel| pixel[..3].to_vec())
                .collect(),
            other => bail!("a screenshot in {other:?}"),
        };
        Ok(((info.width, info.height), rgb))
    }

    fn pid(&self) -> Result<i32> {
        let status = self.landbridge(&["status", "--json", "--control", CONTROL])?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let pid = status["pid"].as_i64().context("no pid in the status")?;
        Ok(i32::try_from(pid)?)
    }

    fn kill(&self) -> Result<()> {
        let pid = self.pid()?;
        daemon::kill(pid)?;
        let start = Instant::now();
        while UnixStream::connect(self.at(CONTROL)).is_ok() {
            if start.elapsed() > PATIENCE {
                bail!("process {pid} survived SIGKILL");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The new daemon is of our process group: it ends with the machine.
    fn serve(&mut self, arguments: &[String]) -> Result<()> {
        let child = Command::new(&self.landbridge)
            .arg("serve")
            .args(arguments.iter().map(|argument| self.at(argument)))
            .stdin(Stdio::null())
            .spawn()
            .context("starting landbridge")?;
        self.started.push(child);
        self.wait_until_served()
    }

    fn wait_until_served(&self) -> Result<()> {
        let start = Instant::now();
        let control = self.at(CONTROL);
        while UnixStream::connect(&control).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("nobody serves at {control}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The lab's QEMU itself can't be asked: it needs its own loader, and in
    /// the emulated machine there is no shell.
    fn pretend_qemu(&self) -> Result<PathBuf> {
        let path = self.folder.join("qemu");
        write_program(
            &path,
            "#!/bin/sh\n\
             echo 'QEMU emulator version 11.1.3'\n\
             echo 'name \"vhost-user-test-device-pci\", bus PCI'\n",
        )?;
        Ok(path)
    }
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
