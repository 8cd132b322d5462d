//! The thread that takes the device's notifications.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EventFd};

use super::queue::Queue;
use crate::asserted;
use crate::error::{Error, Result};

/// The interrupt handler of a guest. Dropping it ends it.
pub(super) struct Interrupts {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
}

impl Interrupts {
    pub(super) fn start(queues: Vec<Arc<Queue>>) -> Result<Self> {
        let failed = |error| Error::host("poll eventfds", error);
        let stop = EventFd::new(EFD_CLOEXEC).map_err(failed)?;
        let mut events = vec![asserted::duplicate(&stop).map_err(failed)?];
        for queue in &queues {
            events.push(asserted::duplicate(&queue.call).map_err(failed)?);
        }
        let thread = std::thread::Builder::new()
            .name("guest interrupts".to_owned())
            .spawn(move || run(&events, &queues))
            .map_err(|error| Error::host("start a thread", error))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Event 0 ends it; the others belong to the queues in order.
fn run(events: &[OwnedFd], queues: &[Arc<Queue>]) {
    loop {
        let mut polled: Vec<_> = events
            .iter()
            .map(|event| PollFd::new(event, PollFlags::IN))
            .collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "no more interrupts");
                return;
            }
        }
        let raised = |event: &PollFd<'_>| !event.revents().is_empty();
        if raised(&polled[0]) {
            return;
        }
        for (_, queue) in polled[1..].iter().zip(queues).filter(|(it, _)| raised(it)) {
            if let Err(error) = queue.collect() {
                tracing::warn!(%error, "the device broke a queue");
            }
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // Writing once can't overflow it.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the interrupt handler panicked");
        }
    }
}
