//! Serving a device: one VMM after another.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use landbridge_device::Device;
use rustix::event::{PollFd, PollFlags, poll};
use vhost::vhost_user::{Error as Protocol, Listener};
use vhost_user_backend::{Error as DaemonError, ShutdownHandle, VhostUserDaemon};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::gate::Gate;
use super::handler::Handler;
use super::link::Link;
use super::private;
use super::ring::Ring;
use crate::error::{Error, Result};

type Daemon = VhostUserDaemon<Arc<Handler>>;

/// A device that VMMs can connect to, one at a time.
pub struct Backend {
    device: Arc<dyn Device>,
    link: Link,
    busy: Arc<AtomicBool>,
}

impl Backend {
    /// A backend for `device`, which was made with `link`.
    pub fn new(device: Arc<dyn Device>, link: Link) -> Self {
        Self {
            device,
            link,
            busy: Arc::default(),
        }
    }

    /// Waits for a VMM on `listener` and serves it in the background. Poll the
    /// listener first where the waiting must be interruptible.
    ///
    /// # Errors
    /// [`Error::Busy`] while a VMM is connected; [`Error::Host`] if accepting
    /// it or starting a thread fails.
    pub fn accept(&self, listener: &UnixListener) -> Result<Connection> {
        let claim = Claim::of(&self.busy)?;
        let listener = listener
            .try_clone()
            .map_err(|error| Error::host("share the listener", error))?;
        self.start(listener, claim)
    }

    /// Serves a connection within this process; the stream is its VMM's end.
    ///
    /// # Errors
    /// As for [`Backend::accept`].
    pub fn connect(&self) -> Result<(UnixStream, Connection)> {
        let claim = Claim::of(&self.busy)?;
        let (listener, stream) =
            private::listener().map_err(|error| Error::host("connect to itself", error))?;
        Ok((stream, self.start(listener, claim)?))
    }

    fn start(&self, listener: UnixListener, claim: Claim) -> Result<Connection> {
        let (vmm, _) = accept(&listener).map_err(|error| Error::host("accept a VMM", error))?;
        let (listener, served) =
            private::listener().map_err(|error| Error::host("connect to itself", error))?;
        let gate =
            Gate::between(vmm, served).map_err(|error| Error::host("pass messages on", error))?;
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let handler = Arc::new(Handler::new(Arc::clone(&self.device), self.link.clone()));
        let mut workers = Workers::start(handler, memory)?;
        let shutdown = workers.serve(listener)?;
        let supervisor = std::thread::Builder::new()
            .name("vhost-user end".to_owned())
            .spawn(move || {
                let end = workers.wait();
                drop(workers);
                drop(gate);
                drop(claim);
                end
            })
            .map_err(|error| Error::host("start a thread", error))?;
        Ok(Connection {
            shutdown,
            supervisor: Some(supervisor),
        })
    }
}

/// Waits for the next VMM, whether the listener does so by itself or not.
fn accept(listener: &UnixListener) -> io::Result<(UnixStream, SocketAddr)> {
    loop {
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut polled = [PollFd::new(listener, PollFlags::IN)];
                rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            accepted => return accepted,
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("device", &self.device.id())
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

/// The place of the one VMM that a device serves.
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn of(busy: &Arc<AtomicBool>) -> Result<Self> {
        if busy.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy);
        }
        Ok(Self(Arc::clone(busy)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The crate's daemon and its worker threads, which end when this is dropped.
struct Workers {
    daemon: Option<Daemon>,
    handler: Arc<Handler>,
    wake: EventFd,
}

impl Workers {
    fn start(handler: Arc<Handler>, memory: GuestMemoryAtomic<GuestMemoryMmap>) -> Result<Self> {
        let wake = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)
            .map_err(|error| Error::host("make an eventfd", error))?;
        let name = "vhost-user".to_owned();
        let (daemon, rings) = Ring::made_by(|| Daemon::new(name, Arc::clone(&handler), memory));
        let daemon = daemon.map_err(explain)?;
        handler.take_rings(rings);
        for worker in daemon.get_epoll_handlers() {
            worker
                .register_listener(wake.as_raw_fd(), EventSet::IN, handler.wake_event())
                .map_err(|error| Error::host("wake a worker", error))?;
        }
        Ok(Self {
            daemon: Some(daemon),
            handler,
            wake,
        })
    }

    /// Takes the first connection to `listener` and serves it.
    fn serve(&mut self, listener: UnixListener) -> Result<ShutdownHandle> {
        let daemon = self.daemon.as_mut().ok_or(Error::Ended)?;
        daemon
            .start(&mut Listener::from(listener))
            .map_err(explain)?;
        daemon.shutdown_handle().ok_or(Error::Ended)
    }

    /// Waits until the connection ends.
    fn wait(&mut self) -> Result<()> {
        match &mut self.daemon {
            Some(daemon) => tidy(daemon.wait()),
            None => Ok(()),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.handler.end();
        // The eventfd is never read: it wakes all of them. Writing once can't
        // overflow it.
        let _ = self.wake.write(1);
        // Joins the workers.
        self.daemon = None;
        self.handler.finish();
    }
}

/// A VMM's connection. Dropping it ends it.
pub struct Connection {
    shutdown: ShutdownHandle,
    supervisor: Option<JoinHandle<Result<()>>>,
}

impl Connection {
    /// Waits until the VMM hangs up, which is no error.
    ///
    /// # Errors
    /// [`Error::Vmm`] if it broke the protocol.
    pub fn wait(mut self) -> Result<()> {
        self.join()
    }

    /// Ends the connection and waits until the device is reset and every
    /// thread has ended. A VMM that was asked for something is waited for.
    ///
    /// # Errors
    /// [`Error::Vmm`] if it broke the protocol before.
    pub fn stop(mut self) -> Result<()> {
        self.shutdown.shutdown();
        self.join()
    }

    /// A way to end the connection from elsewhere while somebody waits for it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.shutdown.clone())
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.supervisor.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn join(&mut self) -> Result<()> {
        match self.supervisor.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(end)) => end,
            Some(Err(_)) => Err(Error::host(
                "serve the device",
                io::Error::other("its supervisor panicked"),
            )),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shutdown.shutdown();
        if let Err(error) = self.join() {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Ends a [`Connection`] from any thread.
#[derive(Clone)]
pub struct Stopper(ShutdownHandle);

impl Stopper {
    /// Ends the connection, if it has not ended, and waits for nothing.
    pub fn stop(&self) {
        self.0.shutdown();
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

/// A VMM that goes away, in the middle of a message or not, is no error.
fn tidy(end: Result<(), DaemonError>) -> Result<()> {
    match end {
        Ok(())
        | Err(DaemonError::HandleRequest(
            Protocol::Disconnected | Protocol::PartialMessage | Protocol::SocketBroken(_),
        )) => Ok(()),
        Err(error) => Err(explain(error)),
    }
}

fn explain(error: DaemonError) -> Error {
    match error {
        DaemonError::StartDaemon(source) => Error::host("start a thread", source),
        DaemonError::HandleRequest(error) => Error::Vmm {
            reason: fault(&error),
        },
        error => Error::host("serve the device", io::Error::other(error.to_string())),
    }
}

/// What the VMM did wrong, in more words than the crate below has.
fn fault(error: &Protocol) -> String {
    match error {
        Protocol::InvalidMessage => {
            "a message that is unknown, or has a wrong size, flags, fields or descriptors"
                .to_owned()
        }
        Protocol::InvalidParam => {
            "a message with a value that is out of range or was not offered".to_owned()
        }
        Protocol::OversizedMsg => "a message larger than any can be".to_owned(),
        Protocol::IncorrectFds => "a message with a wrong number of descriptors".to_owned(),
        Protocol::BackendInternalError => "rings outside the memory that it announced".to_owned(),
        Protocol::InactiveFeature(_) | Protocol::InactiveOperation(_) => {
            format!("a message of a feature that was not agreed on ({error})")
        }
        Protocol::ReqHandlerError(why) => why.to_string(),
        other => other.to_string(),
    }
}
