//! Between a VMM and the crate that serves it: holds back the messages by which a
//! guest's driver could end the connection, or the VMM.
//!
//! A driver says where its rings are, and a VMM passes that on. Where a driver
//! names an address at which there is a device and no memory, QEMU 11.1 passes on
//! the address of a buffer of its own. `vhost-user-backend` 0.24 ends the
//! connection over an address that is in no region that was announced, or that
//! is not aligned; QEMU, which has not started the device then, does not survive
//! that (`memory_region_del_eventfd: Assertion`). So such an address is held back
//! here, and the kick that would start the ring: the queue rests until a driver
//! places it well.
//!
//! The other is our own, a request to map that reaches QEMU after it has stopped
//! the device: see [`channel`].

mod channel;
mod message;
mod rules;

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use channel::Runs;
use message::Message;
use rules::{Pass, Rules};

/// `VHOST_USER_SET_FEATURES`, `_GET_VRING_BASE`, `_SET_VRING_KICK`,
/// `_SET_BACKEND_REQ_FD`.
const SET_FEATURES: u32 = 2;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_BACKEND_REQ_FD: u32 = 21;

/// The two directions of one connection. Dropping it waits for their ends, which
/// come when either side hangs up.
pub(super) struct Gate {
    threads: Vec<JoinHandle<()>>,
    channels: Channels,
}

/// The device's ends of channels that were put in between, and those who serve
/// them; nothing once the connection is over.
type Channels = Arc<Mutex<Option<Ends>>>;
type Ends = Vec<(UnixStream, JoinHandle<()>)>;

impl Gate {
    /// Passes messages on between a VMM and those who serve it.
    pub(super) fn between(vmm: UnixStream, served: UnixStream) -> io::Result<Self> {
        let (from, to) = (vmm.try_clone()?, served.try_clone()?);
        let mut gate = Self {
            threads: Vec::new(),
            channels: Arc::new(Mutex::new(Some(Vec::new()))),
        };
        let channels = Arc::clone(&gate.channels);
        gate.spawn("vhost-user out", move || back(&served, &vmm))?;
        gate.spawn("vhost-user in", move || forth(&from, &to, channels))?;
        Ok(gate)
    }

    fn spawn(
        &mut self,
        name: &str,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.threads.push(spawn(name, run)?);
        Ok(())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Nobody uses them any more, but one that was never looked at may still
        // be on its way to who has ended.
        let channels = lock(&self.channels).take().unwrap_or_default();
        for (end, thread) in channels {
            let _ = end.shutdown(Shutdown::Both);
            self.threads.push(thread);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a thread between a VMM and us panicked");
            }
        }
    }
}

fn lock(channels: &Channels) -> MutexGuard<'_, Option<Ends>> {
    // Changed by single inserts and removes.
    channels.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(
    name: &str,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let run = move || {
        if let Err(error) = run() {
            tracing::debug!(%error, "a connection broke");
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run)
}

/// Requests, until either side hangs up.
fn forth(vmm: &UnixStream, served: &UnixStream, channels: Channels) -> io::Result<()> {
    let mut inward = Inward {
        rules: Rules::default(),
        runs: Runs::default(),
        channels,
    };
    let end = inward.requests(vmm, served);
    // Half a message is passed on as it is, and nothing follows.
    let _ = served.shutdown(Shutdown::Write);
    end
}

/// What is known of a connection from the VMM's messages.
struct Inward {
    rules: Rules,
    runs: Runs,
    channels: Channels,
}

impl Inward {
    fn requests(&mut self, vmm: &UnixStream, served: &UnixStream) -> io::Result<()> {
        loop {
            let mut message = Message::read(vmm)?;
            let last = !message.is_whole();
            match self.rules.judge(&message) {
                Pass::On => {
                    self.note(&mut message)?;
                    message.send(served)?;
                }
                Pass::Not => {
                    tracing::warn!("a driver put a ring where it can't be; its queue rests");
                    if let Some(answer) = message.consent() {
                        (&*vmm).write_all(&answer)?;
                    }
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Remembers starts and stops, and puts itself between the device and its
    /// channel.
    fn note(&mut self, message: &mut Message) -> io::Result<()> {
        match message.request() {
            Some(SET_FEATURES | SET_VRING_KICK) => self.runs.start(),
            Some(GET_VRING_BASE) => self.runs.stop(),
            Some(SET_BACKEND_REQ_FD) if message.is_whole() => {
                // What is no channel is for others to refuse.
                if let Some(file) = message.file().filter(|file| is_stream(file)) {
                    self.put_between(file)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts a channel of ours in the place of the VMM's, and serves it.
    fn put_between(&self, file: &mut OwnedFd) -> io::Result<()> {
        let mut channels = lock(&self.channels);
        let Some(channels) = channels.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        channels.retain(|(_, thread)| !thread.is_finished());
        let (near, far) = UnixStream::pair()?;
        let end = far.try_clone()?;
        let vmm = UnixStream::from(std::mem::replace(file, near.into()));
        vmm.set_nonblocking(false)?;
        let runs = self.runs.clone();
        let relay = move || channel::relay(&far, &vmm, &runs);
        channels.push((end, spawn("vhost-user ask", relay)?));
        Ok(())
    }
}

/// Whether it is a stream of the family that brings descriptors.
fn is_stream(file: &OwnedFd) -> bool {
    socket_domain(file) == Ok(AddressFamily::UNIX) && socket_type(file) == Ok(SocketType::STREAM)
}

/// Answers, which bring no descriptors.
fn back(served: &UnixStream, vmm: &UnixStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    let end = loop {
        match (&*served).read(&mut bytes) {
            Ok(0) => break Ok(()),
            Ok(len) => {
                if let Err(error) = (&*vmm).write_all(&bytes[..len]) {
                    break Err(error);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    // Whoever serves has hung up, or the VMM has.
    let _ = vmm.shutdown(Shutdown::Both);
    let _ = served.shutdown(Shutdown::Both);
    end
}
