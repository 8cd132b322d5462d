//! The answering side: one thread, bounded clients, a deadline for each.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen as listen_on, send, socket_with, sockopt::socket_peercred,
};

use super::{Answer, Refusal, useless};
use crate::error::{Error, Result};
use crate::inspector::{DEFAULT_LIMIT, Inspector};
use crate::sys::child::{Child, Nature};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// How often children that were killed are looked after.
const SWEEP: Duration = Duration::from_millis(100);
/// How long to leave new clients waiting when the machine lacks descriptors or processes.
const BREATHER: Duration = Duration::from_millis(50);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Questions open at once, those of children that hang included.
    pub clients: usize,
    /// The same, of one user.
    pub per_user: usize,
    /// From connection to answer.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 64,
            per_user: 8,
            deadline: DEFAULT_LIMIT,
        }
    }
}

/// Makes the broker's socket at `path`. A socket there that nobody listens on any more
/// is replaced; anything else is an error.
///
/// # Errors
/// [`Error::System`], with EADDRINUSE if another broker is alive.
pub fn listen(path: &Path) -> Result<OwnedFd> {
    let address = SocketAddrUnix::new(path).map_err(Error::system("the socket's path"))?;
    let new = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(Error::system("socket"))
    };
    let socket = new()?;
    match bind(&socket, &address) {
        Ok(()) => {}
        Err(Errno::ADDRINUSE) if connect(new()?, &address) == Err(Errno::CONNREFUSED) => {
            std::fs::remove_file(path).map_err(Error::io("removing a dead socket"))?;
            bind(&socket, &address).map_err(Error::system("bind"))?;
        }
        Err(errno) => return Err(Error::system("bind")(errno)),
    }
    listen_on(&socket, BACKLOG).map_err(Error::system("listen"))?;
    Ok(socket)
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    child: Child,
    user: u32,
    deadline: Instant,
}

/// A child that was killed and has not gone yet.
#[derive(Debug)]
struct Dying {
    child: Child,
    user: u32,
}

/// Answers clients.
#[derive(Debug)]
pub struct Broker {
    inspector: Inspector,
    listener: OwnedFd,
    limits: Limits,
    pub(super) nature: Nature,
    clients: Vec<Client>,
    dying: Vec<Dying>,
    paused_until: Option<Instant>,
}

impl Broker {
    /// A broker that answers on `listener`, a listening seqpacket socket.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the inspector can't read mappings: such a broker would
    /// know no more than its clients.
    pub fn new(listener: OwnedFd, inspector: Inspector, limits: Limits) -> Result<Self> {
        inspector.require_mappings().map_err(useless)?;
        rustix::io::ioctl_fionbio(&listener, true).map_err(Error::system("FIONBIO"))?;
        Ok(Self {
            inspector,
            listener,
            limits,
            nature: Nature::DmaBuf,
            clients: Vec::new(),
            dying: Vec::new(),
            paused_until: None,
        })
    }

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// [`Error::System`] if it can't go on.
    pub fn run(&mut self) -> Result<std::convert::Infallible> {
        loop {
            self.step(SWEEP)?;
        }
    }

    /// Waits at most `limit` for something to do, and does it.
    ///
    /// # Errors
    /// [`Error::System`] if the listener or poll fails.
    pub fn step(&mut self, limit: Duration) -> Result<()> {
        let (accept, reported) = self.wait(limit)?;
        // From the last on, so that removing one leaves the others' places.
        for index in reported.into_iter().rev() {
            self.finish(index);
        }
        self.expire();
        self.sweep();
        if accept {
            self.accept()?;
        }
        Ok(())
    }

    fn open(&self) -> usize {
        self.clients.len() + self.dying.len()
    }

    fn wait(&self, limit: Duration) -> Result<(bool, Vec<usize>)> {
        let now = Instant::now();
        let next = self.clients.iter().map(|client| client.deadline).min();
        let until = next.map_or(limit, |next| limit.min(next.saturating_duration_since(now)));
        let paused = self.paused_until.is_some_and(|until| now < until);
        let accepting = self.open() < self.limits.clients && !paused;
        let listener = self.listener.as_fd();
        let reports: Vec<BorrowedFd<'_>> = self
            .clients
            .iter()
            .map(|client| client.child.report_fd())
            .collect();
        let mut fds: Vec<PollFd<'_>> = reports
            .iter()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        if accepting {
            fds.push(PollFd::new(&listener, PollFlags::IN));
        }
        let timeout = Timespec::try_from(until).unwrap_or_default();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("poll")(errno)),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let reported = (0..reports.len())
            .filter(|&index| ready(&fds[index]))
            .collect();
        let accept = accepting && fds.last().is_some_and(ready);
        Ok((accept, reported))
    }

    fn accept(&mut self) -> Result<()> {
        let socket = match accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                self.paused_until = Some(Instant::now() + BREATHER);
                return Ok(());
            }
            Err(errno) => return Err(Error::system("accept")(errno)),
        };
        let Ok(peer) = socket_peercred(&socket) else {
            return Ok(());
        };
        let user = peer.uid.as_raw();
        let of_user = self
            .clients
            .iter()
            .filter(|client| client.user == user)
            .count()
            + self.dying.iter().filter(|dying| dying.user == user).count();
        if of_user >= self.limits.per_user {
            reply(socket.as_fd(), &Answer::Refused(Refusal::TooMany));
            return Ok(());
        }
        match Child::serving(socket.as_fd(), self.nature) {
            Ok(child) => self.clients.push(Client {
                socket,
                child,
                user,
                deadline: Instant::now() + self.limits.deadline,
            }),
            Err(_) => {
                self.paused_until = Some(Instant::now() + BREATHER);
                reply(socket.as_fd(), &Answer::Refused(Refusal::TooMany));
            }
        }
        Ok(())
    }

    /// The child has reported or died: answer, and be done with both.
    fn finish(&mut self, index: usize) {
        let mut client = self.clients.swap_remove(index);
        let report = client.child.take_report();
        let info = report.and_then(|report| self.inspector.touched(&client.child, report, None));
        let answer = match info {
            Ok(info) => Answer::Answer(info),
            Err(error) => Answer::Refused(error.into()),
        };
        self.dismiss(client, &answer);
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(index) = self
            .clients
            .iter()
            .position(|client| client.deadline <= now)
        {
            let client = self.clients.swap_remove(index);
            self.dismiss(client, &Answer::Refused(Refusal::TooSlow));
        }
    }

    fn dismiss(&mut self, client: Client, answer: &Answer) {
        let Client {
            socket,
            child,
            user,
            ..
        } = client;
        child.kill();
        reply(socket.as_fd(), answer);
        self.dying.push(Dying { child, user });
    }

    fn sweep(&mut self) {
        self.dying
            .retain_mut(|dying| dying.child.reap(Duration::ZERO).is_none());
    }
}

/// Sends without waiting: a client that does not read loses its answer.
fn reply(socket: BorrowedFd<'_>, answer: &Answer) {
    let Ok(text) = serde_json::to_vec(answer) else {
        return;
    };
    let _ = send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}
