//! A fence as a descriptor for an event loop.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

use crate::fence::Fence;

impl Fence {
    /// A descriptor that becomes readable (POLLIN, EPOLLIN) when the fence is
    /// signalled, and stays so. How it ended tells [`outcome`](Self::outcome).
    pub fn event(&self) -> io::Result<OwnedFd> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ours = event.try_clone()?;
        self.on_signal(move |_| {
            // Eight bytes into an empty counter always fit.
            let _ = rustix::io::write(&ours, &1_u64.to_ne_bytes());
        });
        Ok(event)
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::fence::Outcome;

    fn is_readable(event: &OwnedFd) -> bool {
        let mut fds = [PollFd::new(event, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).unwrap() == 1
    }

    #[test]
    fn an_event_loop_hears_of_the_signal() {
        let (fence, signaller) = Fence::new("work");
        let event = fence.event().unwrap();
        assert!(!is_readable(&event));
        signaller.signal(Outcome::Done);
        assert!(is_readable(&event));
        assert!(is_readable(&fence.event().unwrap()), "late");
    }
}
