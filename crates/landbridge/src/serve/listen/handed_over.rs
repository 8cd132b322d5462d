//! Listeners that the service manager handed over (`sd_listen_fds(3)`).
//!
//! Each has a name, `FileDescriptorName=` of its socket unit: "control", or
//! one that begins with "gpu".

use anyhow::{Context, bail, ensure};
use listenfd::ListenFd;

use super::Socket;

/// What was handed over.
#[derive(Debug, Default)]
pub struct HandedOver {
    /// GPUs' sockets, by the names of their units.
    pub gpus: Vec<(String, Socket)>,
    /// The control socket.
    pub control: Option<Socket>,
}

impl HandedOver {
    /// Takes what the environment of this process says. Only once, and before
    /// there are threads.
    pub fn take() -> anyhow::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let mut taken = Self::default();
        let names = names_of(&names, sockets.len())?;
        for (index, name) in names.into_iter().enumerate() {
            let listener = sockets
                .take_unix_listener(index)
                .with_context(|| format!("the socket {name:?} that was handed over"))?
                .context("a socket that was handed over is gone")?;
            // Whoever made it may have asked for non-blocking.
            listener.set_nonblocking(false)?;
            taken.add(name, Socket::of(listener))?;
        }
        Ok(taken)
    }

    fn add(&mut self, name: String, socket: Socket) -> anyhow::Result<()> {
        if name.starts_with("gpu") {
            self.gpus.push((name, socket));
        } else if name == "control" {
            ensure!(
                self.control.is_none(),
                "two control sockets were handed over"
            );
            self.control = Some(socket);
        } else {
            bail!("a socket named {name:?} was handed over: names are \"control\" and \"gpu…\"");
        }
        Ok(())
    }
}

fn names_of(names: &str, sockets: usize) -> anyhow::Result<Vec<String>> {
    if sockets == 0 {
        return Ok(Vec::new());
    }
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    ensure!(
        names.len() == sockets,
        "{sockets} sockets were handed over with {} names (LISTEN_FDNAMES)",
        names.len()
    );
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn socket() -> Socket {
        let dir = tempfile::tempdir().unwrap();
        Socket::of(UnixListener::bind(dir.path().join("x")).unwrap())
    }

    #[test]
    fn names_say_what_a_socket_is_for() {
        let mut taken = HandedOver::default();
        taken.add("gpu".into(), socket()).unwrap();
        taken.add("gpu-two".into(), socket()).unwrap();
        taken.add("control".into(), socket()).unwrap();
        assert_eq!(taken.gpus.len(), 2);
        assert!(taken.add("control".into(), socket()).is_err());
        assert!(taken.add("display".into(), socket()).is_err());
    }

    #[test]
    fn every_socket_has_a_name() {
        assert_eq!(names_of("", 0).unwrap(), Vec::<String>::new());
        assert_eq!(names_of("gpu:control", 2).unwrap(), ["gpu", "control"]);
        assert!(names_of("gpu", 2).is_err());
    }
}
