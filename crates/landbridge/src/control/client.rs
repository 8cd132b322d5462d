//! The asking end of the control socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lines::Lines;
use super::passing;
use super::protocol::{
    Answer, Greeting, LONGEST_ANSWER, Request, ScreenshotArguments, ScreenshotResult,
    ShareArguments, UnshareArguments, UnshareResult, VERSION,
};
use super::protocol::{BufferArguments, EventLine, EventsResult, RestoreResult, RevokeResult};
use super::status::{ShareStatus, Status};

/// How long the program may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a running `landbridge serve`.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    lines: Lines,
    descriptors: Vec<OwnedFd>,
    next: u64,
}

impl Client {
    /// Connects, and checks that the other end speaks this protocol.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| {
            format!(
                "can't connect to {}: is `landbridge serve --control` running there?",
                path.display()
            )
        })?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream,
            lines: Lines::new(LONGEST_ANSWER),
            descriptors: Vec::new(),
            next: 1,
        };
        client
            .greet()
            .with_context(|| format!("{} is no control socket of ours", path.display()))?;
        Ok(client)
    }

    /// What the program holds.
    pub fn status(&mut self) -> anyhow::Result<Status> {
        self.call("status", &())
    }

    /// What an output shows, and the file with the picture.
    pub fn screenshot(
        &mut self,
        arguments: ScreenshotArguments,
    ) -> anyhow::Result<(ScreenshotResult, OwnedFd)> {
        let result = self.call("screenshot", &arguments)?;
        let file = self
            .descriptors
            .pop()
            .context("no picture came with the answer")?;
        Ok((result, file))
    }

    /// Shares a dma-buf or memfd with a device's guest.
    pub fn share(
        &mut self,
        arguments: &ShareArguments,
        memory: impl AsFd,
    ) -> anyhow::Result<ShareStatus> {
        self.call_with("share", arguments, Some(memory.as_fd()))
    }

    /// Ends a share.
    pub fn unshare(&mut self, arguments: UnshareArguments) -> anyhow::Result<UnshareResult> {
        self.call("unshare", &arguments)
    }

    /// Takes a buffer's memory away.
    pub fn revoke(&mut self, arguments: &BufferArguments) -> anyhow::Result<RevokeResult> {
        self.call("revoke", arguments)
    }

    /// Gives a buffer's memory back.
    pub fn restore(&mut self, arguments: &BufferArguments) -> anyhow::Result<RestoreResult> {
        self.call("restore", arguments)
    }

    /// Hands over what happens to buffers until the program ends, or until
    /// `tell` fails or says that nobody wants more.
    pub fn events(
        &mut self,
        mut tell: impl FnMut(EventLine) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let _: EventsResult = self.call("events", &())?;
        self.stream.set_read_timeout(None)?;
        loop {
            let (stream, descriptors) = (&self.stream, &mut self.descriptors);
            let line = self.lines.next(Duration::from_secs(1 << 30), |buffer, _| {
                passing::receive(stream, buffer, descriptors)
            })?;
            let wanted = match line {
                Some(line) => tell(serde_json::from_str(&line)?)?,
                None => false,
            };
            if !wanted {
                return Ok(());
            }
        }
    }

    fn greet(&mut self) -> anyhow::Result<()> {
        let line = self.line()?;
        if let Ok(Answer {
            error: Some(problem),
            ..
        }) = serde_json::from_str(&line)
        {
            return Err(problem.into());
        }
        let greeting: Greeting = serde_json::from_str(&line)?;
        let about = greeting.landbridge;
        ensure!(
            about.protocol == VERSION,
            "landbridge {} speaks version {} of the protocol, this is version {VERSION}",
            about.version,
            about.protocol
        );
        Ok(())
    }

    fn call<T: DeserializeOwned>(
        &mut self,
        command: &str,
        arguments: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.call_with(command, arguments, None)
    }

    fn call_with<T: DeserializeOwned>(
        &mut self,
        command: &str,
        arguments: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> anyhow::Result<T> {
        let id = self.next;
        self.next += 1;
        let request = Request {
            id: Some(id),
            command: command.to_owned(),
            arguments: serde_json::to_value(arguments)?,
        };
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        passing::send(&self.stream, &line, descriptor).context("the connection is broken")?;
        let answer: Answer = serde_json::from_str(&self.line()?)?;
        if let Some(problem) = answer.error {
            return Err(problem.into());
        }
        ensure!(answer.id == Some(id), "an answer to another request came");
        let result = answer
            .result
            .ok_or_else(|| anyhow!("an empty answer came"))?;
        Ok(serde_json::from_value(result)?)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let (stream, descriptors) = (&self.stream, &mut self.descriptors);
        let line = self.lines.next(PATIENCE, |buffer, limit| {
            stream.set_read_timeout(Some(limit))?;
            passing::receive(stream, buffer, descriptors)
        })?;
        match line {
            Some(line) => Ok(line),
            None => bail!("the program hung up"),
        }
    }
}
