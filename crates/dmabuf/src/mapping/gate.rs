//! A gate over an area: whoever comes, waits, and nothing is lost.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::error::{Error, Result};
use crate::mapping::Piece;
use crate::mapping::area::{Area, Shown};
use crate::sys::region::Region;
use crate::sys::userfault::{MISSING, Userfault, WRITE_PROTECT};

/// Who keeps gates: a userfaultfd and the thread that reads its events. One
/// serves all areas of a process. Clones are the same keeper, which lives as
/// long as any gate is up.
#[derive(Clone, Debug)]
pub struct Gatekeeper(Arc<Keeper>);

#[derive(Debug)]
struct Keeper {
    faults: Arc<Userfault>,
    stop: Arc<OwnedFd>,
    reader: Option<JoinHandle<()>>,
}

impl Gatekeeper {
    /// Opens a userfaultfd and starts the thread.
    ///
    /// # Errors
    /// [`Error::Sys`] with ENOSYS or EINVAL where the kernel has no userfaultfd
    /// that protects shared memory (Linux before 5.19).
    pub fn new() -> Result<Self> {
        let faults = Arc::new(Userfault::open()?);
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| Error::sys("eventfd", e))?;
        let stop = Arc::new(stop);
        let (theirs, end) = (Arc::clone(&faults), Arc::clone(&stop));
        let reader = std::thread::Builder::new()
            .name("gatekeeper".to_owned())
            .spawn(move || read_events(&theirs, &end))
            .map_err(|e| Error::sys("clone", e))?;
        Ok(Self(Arc::new(Keeper {
            faults,
            stop,
            reader: Some(reader),
        })))
    }

    /// Whether system calls and KVM wait at a gate too. Where they don't, as
    /// this process has no right to that (`/dev/userfaultfd`, CAP_SYS_PTRACE),
    /// they fail with EFAULT while it is up, and nothing is lost either.
    #[must_use]
    pub fn stops_the_kernel(&self) -> bool {
        self.0.faults.sees_kernel
    }

    fn faults(&self) -> &Userfault {
        &self.0.faults
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It counts to one; an eventfd of ours takes that.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Reads and forgets: a fault waits for the gate, not for us, but whoever moves
/// a registered range waits until that was read.
fn read_events(faults: &Userfault, stop: &OwnedFd) {
    // Room for 16 `struct uffd_msg`.
    let mut events = [0; 16 * 32];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(faults.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
        ];
        // An error here is EINTR, or EAGAIN for want of memory.
        let _ = poll(&mut fds, None);
        if fds[1].revents().contains(PollFlags::IN) {
            return;
        }
        // EAGAIN when another fault was let go meanwhile.
        let _ = rustix::io::read(faults.as_fd(), &mut events);
    }
}

/// How accesses are made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// Reads go on, writes wait: memory of files and zero pages.
    WriteProtect,
    /// Every access waits: memory of drivers (udmabuf, heaps), which can't be
    /// protected.
    Closed,
}

/// A gate that is up: CPUs of this process, of guests and of the kernel that
/// come to the area wait, and none of their writes is lost. The memory that the
/// area showed can be copied meanwhile, through another mapping.
///
/// Pages that are pinned (direct I/O, a device's DMA) and other mappings of the
/// same memory are not stopped: their users are to be quiesced first.
///
/// Dropping it shows the old memory again.
#[derive(Debug)]
#[must_use = "a gate opens again when it is dropped"]
pub struct Gate {
    area: Arc<Area>,
    keeper: Gatekeeper,
    kind: GateKind,
    /// What the area shows if nothing comes in its place.
    before: Option<Before>,
}

#[derive(Debug)]
struct Before {
    shown: Shown,
    /// A second mapping of it, where the gate took the first one's place.
    aside: Option<Region>,
}

impl Gate {
    /// Puts up a gate; [`Area::gate`].
    pub(super) fn raise(area: &Arc<Area>, keeper: &Gatekeeper) -> Result<Self> {
        let mut shown = area.shown();
        let (kind, aside) = match &*shown {
            Shown::Gated => return Err(Error::Gated),
            Shown::Driver(again) => (GateKind::Closed, Some(again.map(area)?)),
            Shown::Zeroes | Shown::Pages => (GateKind::WriteProtect, None),
        };
        match kind {
            GateKind::Closed => {
                let empty = Region::zeroes(area.len(), area.access())?;
                keeper.faults().register(&empty, MISSING)?;
                area.replace(empty)?;
            }
            GateKind::WriteProtect => {
                keeper.faults().register(area.region(), WRITE_PROTECT)?;
                if let Err(error) = keeper.faults().protect(area.region(), true) {
                    // Whatever was protected is let go by this.
                    keeper.faults().unregister(area.region())?;
                    return Err(error);
                }
            }
        }
        let before = std::mem::replace(&mut *shown, Shown::Gated);
        drop(shown);
        Ok(Self {
            area: Arc::clone(area),
            keeper: keeper.clone(),
            kind,
            before: Some(Before {
                shown: before,
                aside,
            }),
        })
    }

    /// How accesses are made to wait.
    #[must_use]
    pub fn kind(&self) -> GateKind {
        self.kind
    }

    /// Shows `piece` and lets everybody go on, there.
    ///
    /// # Errors
    /// As for [`Area::show`]; the old memory is shown again then.
    pub fn open_to(mut self, piece: &Piece<'_>) -> Result<()> {
        let area = Arc::clone(&self.area);
        let (fresh, shown) = area.prepare(piece)?;
        self.pass(fresh, shown)
    }

    /// Shows zero pages and lets everybody go on, there.
    ///
    /// # Errors
    /// [`Error::Sys`] if the kernel has no memory; the old memory is shown
    /// again then.
    pub fn open_to_zeroes(mut self) -> Result<()> {
        let zeroes = Region::zeroes(self.area.len(), self.area.access())?;
        self.pass(zeroes, Shown::Zeroes)
    }

    /// Shows the old memory again and lets everybody go on.
    ///
    /// # Errors
    /// [`Error::Sys`]; the area then shows zero pages if the kernel has any.
    pub fn open(mut self) -> Result<()> {
        self.go_back()
    }

    fn pass(&mut self, fresh: Region, shown: Shown) -> Result<()> {
        let mut now = self.area.shown();
        self.area.replace(fresh)?;
        *now = shown;
        self.before = None;
        drop(now);
        self.keeper.faults().wake(self.area.region())
    }

    fn go_back(&mut self) -> Result<()> {
        match self.before.take() {
            None => Ok(()),
            Some(Before {
                shown,
                aside: Some(aside),
            }) => self.pass(aside, shown),
            Some(Before { shown, aside: None }) => {
                let region = self.area.region();
                let mut now = self.area.shown();
                self.keeper.faults().protect(region, false)?;
                *now = shown;
                drop(now);
                self.keeper.faults().unregister(region)?;
                self.keeper.faults().wake(region)
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.before.is_none() || self.go_back().is_ok() {
            return;
        }
        // Nobody may wait for ever.
        if let Ok(zeroes) = Region::zeroes(self.area.len(), self.area.access()) {
            let _ = self.pass(zeroes, Shown::Zeroes);
        }
    }
}
