//! A listener that exactly one connection reaches: ours.
//!
//! `vhost-user-backend` takes connections only from a listener, and the
//! embedded guest wants a connected pair. So a listener is bound to an abstract
//! name that nobody knows (128 random bits) with room for one connection, and
//! is connected to before anybody accepts. Where the connect succeeds, ours is
//! the one in the queue: had a stranger been first, the queue would have been
//! full. No file system is involved, and the name is gone with the listener.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

/// A listener with its one connection, not accepted yet.
pub(super) fn listener() -> io::Result<(UnixListener, UnixStream)> {
    let name = uuid::Uuid::new_v4();
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let socket = |flags| socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let listening = socket(SocketFlags::CLOEXEC)?;
    bind(&listening, &address)?;
    listen(&listening, 0)?;
    // Not to wait behind a stranger: a full queue is an error.
    let connecting = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    connect(&connecting, &address)?;
    let stream = UnixStream::from(connecting);
    stream.set_nonblocking(false)?;
    Ok((listening.into(), stream))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    use super::*;

    #[test]
    fn the_pair_is_connected() {
        let (listener, mut near) = listener().unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"over").unwrap();
        let mut bytes = [0; 4];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"over");
    }

    #[test]
    fn a_stranger_finds_the_queue_full() {
        let (listener, _near) = listener().unwrap();
        let name = listener.local_addr().unwrap();
        let name = name.as_abstract_name().unwrap();
        let again = SocketAddrUnix::new_abstract_name(name).unwrap();
        let stranger = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        assert_eq!(
            connect(&stranger, &again),
            Err(rustix::io::Errno::AGAIN),
            "{:?}",
            SocketAddr::from_abstract_name(name).unwrap()
        );
    }
}
