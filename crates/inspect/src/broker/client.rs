//! The asking side.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with,
};

use super::{Answer, MAX_ANSWER_BYTES, REQUEST};
use crate::error::{Error, Result};
use crate::map_info::MapInfo;

/// Between tries while the broker's queue is full.
const PAUSE: Duration = Duration::from_millis(2);

/// Asks the broker at `path` how CPU mappings of `buffer` behave.
///
/// # Errors
/// [`Error::Timeout`] past `limit`; what the exporter said, as
/// [`Inspector::map_info`](crate::Inspector::map_info) gives it; [`Error::Broker`] and
/// [`Error::BrokerProtocol`]; [`Error::System`] if nobody listens.
pub fn ask(path: &Path, buffer: impl AsFd, limit: Duration) -> Result<MapInfo> {
    let end = Instant::now() + limit;
    let timeout = Error::Timeout { limit };
    let socket = match reach(path, end)? {
        Some(socket) => socket,
        None => return Err(timeout),
    };
    // One small message fits an empty socket, so this does not wait.
    match send(socket.as_fd(), buffer.as_fd()) {
        // It has hung up; why, it said before.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(errno) => return Err(Error::system("sending to the broker")(errno)),
    }
    let mut text = [0; MAX_ANSWER_BYTES];
    loop {
        if !wait(socket.as_fd(), end)? {
            return Err(timeout);
        }
        match recv(&socket, &mut text[..], RecvFlags::DONTWAIT) {
            Ok((_, count)) => return understand(text.get(..count).unwrap_or_default()),
            // A hang-up with our question unread is told once, before the answer.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNRESET) => {}
            Err(errno) => return Err(Error::system("receiving from the broker")(errno)),
        }
    }
}

fn reach(path: &Path, end: Instant) -> Result<Option<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(Error::system("socket"))?;
    let address = SocketAddrUnix::new(path).map_err(Error::system("the broker's path"))?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => return Ok(Some(socket)),
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(Error::system("connecting to the broker")(errno)),
        }
    }
}

fn send(socket: BorrowedFd<'_>, buffer: BorrowedFd<'_>) -> Result<(), Errno> {
    let descriptors = [buffer];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::NOBUFS);
    }
    let part = [IoSlice::new(REQUEST)];
    sendmsg(socket, &part, &mut control, SendFlags::NOSIGNAL).map(|_| ())
}

fn wait(socket: BorrowedFd<'_>, end: Instant) -> Result<bool> {
    let left = end.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).unwrap_or_default();
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(!left.is_zero()),
        Err(errno) => Err(Error::system("poll")(errno)),
    }
}

fn understand(text: &[u8]) -> Result<MapInfo> {
    let protocol = |what| Error::BrokerProtocol { what };
    if text.is_empty() {
        return Err(protocol("it closed without an answer"));
    }
    match serde_json::from_slice(text) {
        Ok(Answer::Answer(info)) if info.is_consistent() => Ok(info),
        Ok(Answer::Answer(_)) => Err(protocol("it contradicts itself")),
        Ok(Answer::Refused(refusal)) => Err(refusal.into()),
        Err(_) => Err(protocol("not the JSON that was agreed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Refusal;

    #[test]
    fn senseless_answers_are_noticed() {
        let what = |text: &[u8]| understand(text).unwrap_err().to_string();
        assert!(what(b"").contains("closed"));
        assert!(what(b"{}").contains("JSON"));
        let lie =
            br#"{"answer":{"caching":null,"source":"pte","gup":false,"mappable":true,"at":1}}"#;
        assert!(what(lie).contains("contradicts"));
        let refused = understand(br#"{"refused":{"why":"too-slow"}}"#).unwrap_err();
        assert!(matches!(refused, Error::Broker(Refusal::TooSlow)));
    }
}
