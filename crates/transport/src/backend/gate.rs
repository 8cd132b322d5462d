//! Between a VMM and the crate that serves it: holds back the one message by
//! which a guest's driver could end the connection.
//!
//! A driver says where its rings are, and a VMM passes that on. Where a driver
//! names an address at which there is a device and no memory, QEMU 11.1 passes on
//! the address of a buffer of its own. `vhost-user-backend` 0.24 ends the
//! connection over an address that is in no region that was announced, or that
//! is not aligned; QEMU, which has not started the device then, does not survive
//! that (`memory_region_del_eventfd: Assertion`). So such an address is held back
//! here, and the kick that would start the ring: the queue rests until a driver
//! places it well.

mod message;
mod rules;

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use message::Message;
use rules::{Pass, Rules};

/// The two directions of one connection. Dropping it waits for their ends, which
/// come when either side hangs up.
pub(super) struct Gate {
    threads: Vec<JoinHandle<()>>,
}

impl Gate {
    /// Passes messages on between a VMM and those who serve it.
    pub(super) fn between(vmm: UnixStream, served: UnixStream) -> io::Result<Self> {
        let (from, to) = (vmm.try_clone()?, served.try_clone()?);
        let mut gate = Self {
            threads: Vec::new(),
        };
        gate.spawn("vhost-user out", move || back(&served, &vmm))?;
        gate.spawn("vhost-user in", move || forth(&from, &to))?;
        Ok(gate)
    }

    fn spawn(
        &mut self,
        name: &str,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let run = move || {
            if let Err(error) = run() {
                tracing::debug!(%error, "a connection broke");
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(run)?);
        Ok(())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a thread between a VMM and us panicked");
            }
        }
    }
}

/// Requests, until either side hangs up.
fn forth(vmm: &UnixStream, served: &UnixStream) -> io::Result<()> {
    let end = requests(vmm, served);
    // Half a message is passed on as it is, and nothing follows.
    let _ = served.shutdown(Shutdown::Write);
    end
}

fn requests(vmm: &UnixStream, served: &UnixStream) -> io::Result<()> {
    let mut rules = Rules::default();
    loop {
        let message = Message::read(vmm)?;
        let last = !message.is_whole();
        match rules.judge(&message) {
            Pass::On => message.send(served)?,
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
