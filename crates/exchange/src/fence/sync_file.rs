//! The kernel's fences as ours.
//!
//! A sync_file is watched by one thread for all of them, which starts with the
//! first and ends with the last.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::thread;

use landbridge_dmabuf::SyncFile;
use landbridge_dmabuf::sync_file::Status;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::fence::{Fence, FenceSignaller, Outcome};

/// What the thread watches; `None` while it does not run.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

struct Watch {
    newcomers: Vec<Watched>,
    wake: OwnedFd,
}

struct Watched {
    file: SyncFile,
    signaller: FenceSignaller,
}

impl Fence {
    /// The kernel's work behind `file` as a fence.
    ///
    /// # Errors
    /// Where no thread can be started to watch it.
    pub fn of_sync_file(label: impl Into<String>, file: SyncFile) -> io::Result<Self> {
        let (fence, signaller) = Self::new(label);
        if let Some(outcome) = outcome(&file) {
            signaller.signal(outcome);
            return Ok(fence);
        }
        let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = Watched { file, signaller };
        match &mut *watch {
            Some(running) => {
                running.newcomers.push(watched);
                rustix::io::write(&running.wake, &1_u64.to_ne_bytes())?;
            }
            None => {
                let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                let woken = wake.try_clone()?;
                thread::Builder::new()
                    .name("sync_files".to_owned())
                    .spawn(move || run(&woken))?;
                *watch = Some(Watch {
                    newcomers: vec![watched],
                    wake,
                });
            }
        }
        Ok(fence)
    }
}

/// How the work ended; failed, where the kernel doesn't tell.
fn outcome(file: &SyncFile) -> Option<Outcome> {
    match file.status() {
        Ok(Status::Active) => None,
        Ok(Status::Signaled) => Some(Outcome::Done),
        Ok(Status::Failed(_)) | Err(_) => Some(Outcome::Failed),
    }
}

fn run(wake: &OwnedFd) {
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = &mut *watch {
            watched.append(&mut watch.newcomers);
        }
        if watched.is_empty() {
            *watch = None;
            return;
        }
        drop(watch);
        let mut fds = vec![PollFd::new(wake, PollFlags::IN)];
        fds.extend(
            watched
                .iter()
                .map(|one| PollFd::from_borrowed_fd(one.file.as_fd(), PollFlags::IN)),
        );
        // Interrupted or out of memory: look again.
        let polled = poll(&mut fds, None);
        drop(fds);
        if polled.is_err() {
            thread::yield_now();
        }
        let mut count = [0; 8];
        // Nothing to read is no news.
        let _ = rustix::io::read(wake, &mut count);
        for index in (0..watched.len()).rev() {
            if let Some(outcome) = outcome(&watched[index].file) {
                watched.swap_remove(index).signaller.signal(outcome);
            }
        }
    }
}
