//! QEMU's machine protocol, as much as a recovery needs.
//!
//! QEMU, `docs/interop/qmp-spec.rst`: one JSON object a line; a greeting, a
//! handshake, then commands with their answers, and events in between.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::control::Lines;

/// How long QEMU may take for an answer: it is busy while a guest's device is
/// set up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest line that is taken.
const LONGEST: usize = 16 << 20;

/// QEMU said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("QEMU refused {command}: {reason}")]
pub struct Refused {
    /// The command.
    pub command: String,
    /// "GenericError", "DeviceNotFound" and the like.
    pub class: String,
    /// Why.
    pub reason: String,
}

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    lines: Lines,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Connects and shakes hands.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("can't connect to QEMU at {}", path.display()))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut qmp = Self {
            stream,
            lines: Lines::new(LONGEST),
            events: VecDeque::new(),
        };
        // A monitor serves one client at a time and keeps others waiting.
        let greeting = qmp.line(PATIENCE).with_context(|| {
            format!(
                "QEMU does not answer at {}: has it another client?",
                path.display()
            )
        })?;
        ensure!(
            greeting.get("QMP").is_some(),
            "{} is no QMP socket",
            path.display()
        );
        qmp.run("qmp_capabilities", json!({}))??;
        Ok(qmp)
    }

    /// Runs a command. The outer error is the connection's, the inner one
    /// QEMU's answer.
    pub fn run(
        &mut self,
        command: &str,
        arguments: Value,
    ) -> anyhow::Result<Result<Value, Refused>> {
        tracing::debug!(command, %arguments, "QMP");
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream
            .write_all(line.as_bytes())
            .with_context(|| format!("QEMU hung up before {command}"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self
                .line(left)
                .with_context(|| format!("QEMU does not answer {command}"))?;
            if let Some(value) = answer.get("return") {
                return Ok(Ok(value.clone()));
            }
            if let Some(error) = answer.get("error") {
                return Ok(Err(refused(command, error)));
            }
            if answer.get("event").is_some() {
                self.events.push_back(answer);
            }
        }
    }

    /// Waits for an event that `wanted` takes, at most for `limit`; `None`
    /// where the time runs out.
    pub fn wait_for<T>(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&str, &Value) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(event) = self.events.pop_front() {
                let name = event["event"].as_str().unwrap_or_default();
                if let Some(found) = wanted(name, &event["data"]) {
                    return Ok(Some(found));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.line(left) {
                Ok(event) if event.get("event").is_some() => self.events.push_back(event),
                Ok(_) => {}
                Err(_) if Instant::now() >= deadline => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn line(&mut self, limit: Duration) -> anyhow::Result<Value> {
        let mut stream = &self.stream;
        let line = self.lines.next(limit, |buffer, left| {
            stream.set_read_timeout(Some(left))?;
            stream.read(buffer)
        })?;
        match line {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => bail!("it hung up"),
        }
    }
}

fn refused(command: &str, error: &Value) -> Refused {
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    Refused {
        command: command.to_owned(),
        class: text("class"),
        reason: text("desc"),
    }
}
