//! The answering end of the control socket.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use landbridge_exchange::{Event, Subscription};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::lines::Lines;
use super::passing;
use super::protocol::{
    About, Answer, Code, Greeting, LONGEST_REQUEST, Problem, Request, ScreenshotArguments,
    ScreenshotResult, ShareArguments, UnshareArguments, UnshareResult,
};
use super::protocol::{
    BufferArguments, EventLine, EventStatus, EventsResult, RestoreResult, RevokeResult,
};
use super::status::{ShareStatus, Status};
use super::stop::{Stop, Woken};
use crate::picture;

/// How many clients are served at a time.
const MAX_CLIENTS: usize = 16;

/// How long a client may take for a request, or do nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client may take to read an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the server rests when the system is out of something.
const PAUSE: Duration = Duration::from_millis(500);

/// What a control socket gives access to.
pub trait Service: Send + Sync {
    /// What the program holds, and how others map it.
    fn status(&self) -> Status;

    /// The same without a look at other processes, for who asks often.
    fn holdings(&self) -> Status;

    /// What an output shows.
    ///
    /// # Errors
    /// [`Code::NoSuchDevice`], [`Code::NoSuchOutput`], [`Code::NothingShown`],
    /// and [`Code::Failed`] where the picture can't be read in time.
    fn screenshot(&self, device: usize, output: u32) -> Result<Shot, Problem>;

    /// Shares memory with a device's guest.
    ///
    /// # Errors
    /// [`Code::NoSuchDevice`], [`Code::NotShareable`], [`Code::Taken`], and
    /// [`Code::Failed`] where the guest may not hold more.
    fn share(&self, asked: &ShareArguments, memory: OwnedFd) -> Result<ShareStatus, Problem>;

    /// Ends a share.
    ///
    /// # Errors
    /// [`Code::NoSuchDevice`], [`Code::NoSuchShare`].
    fn unshare(&self, asked: UnshareArguments) -> Result<UnshareResult, Problem>;

    /// Takes a buffer's memory away from all who use it.
    ///
    /// # Errors
    /// [`Code::NoSuchBuffer`], [`Code::NotRevocable`], and [`Code::Failed`] where
    /// somebody could not be cut off.
    fn revoke(&self, asked: &BufferArguments) -> Result<RevokeResult, Problem>;

    /// Gives a buffer's memory back.
    ///
    /// # Errors
    /// [`Code::NoSuchBuffer`], [`Code::Gone`], [`Code::Failed`].
    fn restore(&self, asked: &BufferArguments) -> Result<RestoreResult, Problem>;

    /// Hears of what happens to buffers.
    fn subscribe(&self) -> Subscription;
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Red, green, blue, alpha, a byte each, rows packed.
    pub rgba: Vec<u8>,
}

/// A control socket in service. Dropping it ends it and its clients.
pub struct Server {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers on `listener` until dropped.
    ///
    /// # Errors
    /// Where the thread can't be started.
    pub fn start(listener: &UnixListener, service: Arc<dyn Service>) -> io::Result<Self> {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let stop = Stop::new()?;
        let hall = Hall {
            stop: stop.clone(),
            service,
            clients: Arc::default(),
            camera: Arc::default(),
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || hall.accept_all(&listener))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take() {
            // It never panics; if it did, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// What all clients' threads share.
#[derive(Clone)]
struct Hall {
    stop: Stop,
    service: Arc<dyn Service>,
    clients: Arc<AtomicUsize>,
    /// One picture at a time: each is tens of megabytes while it is encoded.
    camera: Arc<Mutex<()>>,
}

/// A client's place among those who are served.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn of(clients: &Arc<AtomicUsize>) -> Result<Self, Problem> {
        let taken = clients.fetch_add(1, Ordering::AcqRel);
        let place = Self(Arc::clone(clients));
        if taken < MAX_CLIENTS {
            return Ok(place);
        }
        let message = format!("{MAX_CLIENTS} clients are connected, which is the most");
        Err(Problem::new(Code::TooManyClients, message))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hall {
    fn accept_all(&self, listener: &UnixListener) {
        loop {
            match self.stop.wait_for(listener, None) {
                Ok(Woken::Stop) => return,
                Ok(Woken::Ready | Woken::Timeout) => {}
                Err(error) => tracing::warn!(%error, "can't wait for clients"),
            }
            let accepted = listener.accept();
            match accepted.and_then(|(stream, _)| self.receive(stream)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!(%error, "can't take a client on the control socket");
                    self.stop.pause(PAUSE);
                }
            }
        }
    }

    /// Lets a client in, or says why not.
    fn receive(&self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        let place = match check_peer(&stream).and_then(|()| Place::of(&self.clients)) {
            Ok(place) => place,
            Err(problem) => {
                tracing::info!(%problem, "a client was turned away");
                // The line fits any socket's buffer. A client that is gone
                // already needs no answer.
                let _ = send_line(&stream, &refusal(None, problem), None);
                return Ok(());
            }
        };
        let hall = self.clone();
        std::thread::Builder::new()
            .name("control client".to_owned())
            .spawn(move || {
                let _place = place;
                if let Err(error) = hall.attend(&stream) {
                    tracing::debug!(%error, "a client of the control socket was lost");
                }
            })?;
        Ok(())
    }

    fn attend(&self, stream: &UnixStream) -> io::Result<()> {
        let greeting = Greeting {
            landbridge: About::this(),
        };
        send_line(stream, &greeting, None)?;
        let mut lines = Lines::new(LONGEST_REQUEST);
        let mut descriptors = Vec::new();
        loop {
            let line = lines.next(PATIENCE, |buffer, limit| {
                match self.stop.wait_for(stream, Some(limit))? {
                    Woken::Ready => passing::receive(stream, buffer, &mut descriptors),
                    Woken::Timeout => Err(io::ErrorKind::TimedOut.into()),
                    Woken::Stop => Ok(0),
                }
            });
            let request = match line {
                Ok(None) => return Ok(()),
                Ok(Some(line)) => {
                    serde_json::from_str::<Request>(&line).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            // The one that came with this request; more would belong to nobody.
            let descriptor = descriptors.pop();
            let request = match descriptors.is_empty() {
                true => request,
                false => Err("more than one descriptor came with a request".to_owned()),
            };
            match request {
                Ok(request) if request.command == "events" => {
                    return self.follow(stream, request);
                }
                Ok(request) => self.answer(stream, request, descriptor)?,
                Err(message) => {
                    let problem = Problem::new(Code::BadRequest, message);
                    return send_line(stream, &refusal(None, problem), None);
                }
            }
        }
    }

    fn answer(
        &self,
        stream: &UnixStream,
        request: Request,
        descriptor: Option<OwnedFd>,
    ) -> io::Result<()> {
        let id = request.id;
        match self.carry_out(request, descriptor) {
            Ok((result, file)) => {
                let answer = Answer {
                    id,
                    result: Some(result),
                    error: None,
                };
                send_line(stream, &answer, file.as_ref())
            }
            Err(problem) => send_line(stream, &refusal(id, problem), None),
        }
    }

    fn carry_out(
        &self,
        request: Request,
        descriptor: Option<OwnedFd>,
    ) -> Result<(Value, Option<std::fs::File>), Problem> {
        let arguments = or_none(request.arguments);
        match request.command.as_str() {
            "version" => Ok((plain(arguments, About::this)?, None)),
            "status" => Ok((plain(arguments, || self.service.status())?, None)),
            "screenshot" => {
                let (result, file) = self.screenshot(parsed(arguments)?)?;
                Ok((to_value(&result)?, Some(file)))
            }
            "share" => {
                let memory = descriptor.ok_or_else(|| {
                    Problem::new(Code::BadArguments, "no descriptor came with the request")
                })?;
                let result = self.service.share(&parsed(arguments)?, memory)?;
                Ok((to_value(&result)?, None))
            }
            "unshare" => {
                let result = self.service.unshare(parsed(arguments)?)?;
                Ok((to_value(&result)?, None))
            }
            "revoke" => {
                let result = self.service.revoke(&parsed(arguments)?)?;
                Ok((to_value(&result)?, None))
            }
            "restore" => {
                let result = self.service.restore(&parsed(arguments)?)?;
                Ok((to_value(&result)?, None))
            }
            other => Err(Problem::new(
                Code::UnknownCommand,
                format!(
                    "{other:?} is none of version, status, screenshot, share, unshare, revoke, \
                     restore, events"
                ),
            )),
        }
    }

    fn screenshot(
        &self,
        asked: ScreenshotArguments,
    ) -> Result<(ScreenshotResult, std::fs::File), Problem> {
        // It guards nothing but memory.
        let _one_at_a_time = self.camera.lock().unwrap_or_else(PoisonError::into_inner);
        let shot = self.service.screenshot(asked.device, asked.output)?;
        let file = passing::sealed_file("landbridge screenshot", |file| {
            let mut file = BufWriter::new(file);
            picture::write_png(&mut file, shot.width, shot.height, &shot.rgba)?;
            Ok(file.flush()?)
        });
        let failed = |error: anyhow::Error| Problem::new(Code::Failed, format!("{error:#}"));
        let file = file.map_err(failed)?;
        let bytes = file.metadata().map_err(|error| failed(error.into()))?.len();
        let result = ScreenshotResult {
            width: shot.width,
            height: shot.height,
            format: "png".to_owned(),
            bytes,
        };
        Ok((result, file))
    }
}

/// How long an event may wait before it is told.
const BEAT: Duration = Duration::from_millis(100);

impl Hall {
    /// Tells a client of all that happens until it says something or leaves.
    fn follow(&self, stream: &UnixStream, request: Request) -> io::Result<()> {
        let id = request.id;
        let arguments = or_none(request.arguments);
        // Nothing that happens after the answer is missed.
        let events = self.service.subscribe();
        let answer = match plain(arguments, || EventsResult { following: true }) {
            Ok(result) => Answer {
                id,
                result: Some(result),
                error: None,
            },
            Err(problem) => return send_line(stream, &refusal(id, problem), None),
        };
        send_line(stream, &answer, None)?;
        loop {
            if let Some(event) = events.next(BEAT) {
                send_line(stream, &EventLine::Event(told(event)), None)?;
                let missed = events.missed();
                if missed > 0 {
                    send_line(stream, &EventLine::Missed(missed), None)?;
                }
            }
            match self.stop.wait_for(stream, Some(Duration::ZERO))? {
                Woken::Timeout => {}
                Woken::Ready | Woken::Stop => return Ok(()),
            }
        }
    }
}

/// An event as it goes over the wire.
fn told(event: Event) -> EventStatus {
    let since = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    EventStatus {
        number: event.number,
        unix_ms: since.as_millis().try_into().unwrap_or(u64::MAX),
        buffer: event.buffer.get(),
        uuid: event.uuid.map(|uuid| uuid.to_string()),
        name: event.what.name().to_owned(),
        importer: event.what.importer().map(str::to_owned),
        text: event.what.to_string(),
    }
}

/// The result of a command without arguments.
fn plain<T: Serialize>(arguments: Value, result: impl FnOnce() -> T) -> Result<Value, Problem> {
    match arguments {
        Value::Object(arguments) if arguments.is_empty() => to_value(&result()),
        _ => Err(Problem::new(Code::BadArguments, "it takes no arguments")),
    }
}

/// Arguments that were left out are none.
fn or_none(arguments: Value) -> Value {
    match arguments {
        Value::Null => Value::Object(serde_json::Map::new()),
        arguments => arguments,
    }
}

fn parsed<T: DeserializeOwned>(arguments: Value) -> Result<T, Problem> {
    serde_json::from_value(arguments).map_err(|error| Problem::new(Code::BadArguments, error))
}

fn to_value(result: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(result).map_err(|error| Problem::new(Code::Failed, error))
}

fn refusal(id: Option<u64>, problem: Problem) -> Answer {
    Answer {
        id,
        result: None,
        error: Some(problem),
    }
}

fn send_line(
    stream: &UnixStream,
    line: &impl Serialize,
    file: Option<&std::fs::File>,
) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    passing::send(stream, &bytes, file.map(AsFd::as_fd))
}

/// Only this user's processes and root's may ask.
fn check_peer(stream: &UnixStream) -> Result<(), Problem> {
    let peer = rustix::net::sockopt::socket_peercred(stream)
        .map_err(|error| Problem::new(Code::Failed, error))?;
    let own = rustix::process::geteuid();
    if peer.uid == own || peer.uid.is_root() {
        return Ok(());
    }
    let message = format!(
        "only user {} may ask, not user {}",
        own.as_raw(),
        peer.uid.as_raw()
    );
    Err(Problem::new(Code::Forbidden, message))
}

#[cfg(test)]
mod tests;
