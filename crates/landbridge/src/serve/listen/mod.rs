//! Unix sockets that we listen on: made, taken over from a dead process, or
//! handed over by the service manager.
//!
//! Whether a socket file is alive is asked without disturbing who listens:
//! `connect(2)` of a datagram socket to it fails with EPROTOTYPE where somebody
//! holds it and with ECONNREFUSED where nobody does, and never arrives. The
//! directory is locked meanwhile, so that of two processes that find the same
//! dead file one wins.

pub mod handed_over;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use landbridge_dmabuf::Identity;
use rustix::fs::{FileType, FlockOperation, Mode, fchmod, flock, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

/// How many connections wait to be accepted.
const BACKLOG: i32 = 8;

/// How long a directory may be locked by others.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// A listening socket. Dropping it removes the file, if this process made it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: Option<PathBuf>,
    made: Option<Identity>,
}

impl Socket {
    /// Listens on `path`, which only this user can connect to. Replaces what a
    /// dead process left there.
    ///
    /// # Errors
    /// Where somebody listens there, where the file is no socket, and where
    /// the directory can't be written.
    pub fn make(path: &Path) -> anyhow::Result<Self> {
        Self::try_make(path).with_context(|| format!("can't listen on {}", path.display()))
    }

    fn try_make(path: &Path) -> anyhow::Result<Self> {
        let address = SocketAddrUnix::new(path)
            .map_err(|_| anyhow!("the path is longer than a socket's can be, 107 bytes"))?;
        let lock = lock_directory(path)?;
        clear(path, &address)?;
        let socket = new_socket(SocketType::STREAM)?;
        // The file gets the mode of the socket: nobody else can connect, not
        // even before a chmod.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &address)?;
        let made = identity(path)?;
        drop(lock);
        listen(&socket, BACKLOG)?;
        Ok(Self {
            listener: socket.into(),
            path: Some(path.to_owned()),
            made: Some(made),
        })
    }

    /// A listener that the service manager handed over.
    pub fn of(listener: UnixListener) -> Self {
        let address = listener.local_addr().ok();
        let path = address.and_then(|address| address.as_pathname().map(Path::to_owned));
        Self {
            listener,
            path,
            made: None,
        }
    }

    /// The listener.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where it is in the file system, if it is.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Removes the file, if this process made it and it is still the same.
    pub fn remove(&self) {
        if let Err(error) = self.try_remove() {
            tracing::warn!(path = ?self.path, "the socket's file stays: {error:#}");
        }
    }

    fn try_remove(&self) -> anyhow::Result<()> {
        let (Some(path), Some(made)) = (&self.path, self.made) else {
            return Ok(());
        };
        let _lock = lock_directory(path)?;
        // Somebody may have put a socket of their own there.
        if identity(path).is_ok_and(|found| found == made) {
            unlink(path)?;
        }
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.remove();
    }
}

fn new_socket(kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn identity(path: &Path) -> io::Result<Identity> {
    let stat = lstat(path)?;
    Ok(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// Removes what a dead process left at `path`.
fn clear(path: &Path, address: &SocketAddrUnix) -> anyhow::Result<()> {
    let stat = match lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        bail!("there is a file that is no socket");
    }
    match is_alive(address).context("can't tell whether another process listens there")? {
        true => bail!("another process listens there"),
        false => {
            tracing::info!(path = %path.display(), "replacing a dead socket");
            Ok(unlink(path)?)
        }
    }
}

/// Whether a process listens on the stream socket at `address`; it is not
/// disturbed.
pub fn is_alive(address: &SocketAddrUnix) -> io::Result<bool> {
    match connect(new_socket(SocketType::DGRAM)?, address) {
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(Errno::PROTOTYPE) | Ok(()) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn lock_directory(path: &Path) -> anyhow::Result<File> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let directory =
        File::open(parent).with_context(|| format!("can't open {}", parent.display()))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(directory.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("can't lock {}", parent.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it.sock");
        (dir, path)
    }

    #[test]
    fn a_socket_is_this_users_and_goes_with_its_owner() {
        let (_dir, path) = place();
        let socket = Socket::make(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_is_refused_and_not_even_knocked_at() {
        let (_dir, path) = place();
        let owner = UnixListener::bind(&path).unwrap();
        owner.set_nonblocking(true).unwrap();
        let error = Socket::make(&path).unwrap_err();
        assert!(
            format!("{error:#}").contains("another process"),
            "{error:#}"
        );
        assert_eq!(
            owner.accept().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_dead_socket_is_replaced() {
        let (_dir, path) = place();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _socket = Socket::make(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let (_dir, path) = place();
        std::fs::write(&path, "precious").unwrap();
        assert!(Socket::make(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn only_ones_own_file_is_removed() {
        let (_dir, path) = place();
        let socket = Socket::make(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[test]
    fn of_two_who_find_a_dead_socket_one_wins() {
        for _ in 0..20 {
            let (_dir, path) = place();
            drop(UnixListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(4);
            let sockets: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            Socket::make(&path).ok()
                        })
                    })
                    .collect();
                threads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            assert_eq!(sockets.iter().flatten().count(), 1);
        }
    }

    #[test]
    fn a_path_that_is_too_long_is_said_to_be() {
        let path = PathBuf::from("x".repeat(200));
        let error = Socket::make(&path).unwrap_err();
        assert!(format!("{error:#}").contains("longer"), "{error:#}");
    }
}
