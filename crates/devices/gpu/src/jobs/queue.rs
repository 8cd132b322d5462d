//! The queue of commands that wait or run, and the rule of who may go first.

use std::collections::{HashSet, VecDeque};
use std::thread::JoinHandle;
use std::time::Instant;

use landbridge_exchange::Fence;
use landbridge_protocol_gpu::Response;

use crate::answer::Answer;
use crate::core::Core;
use crate::error::Error;

/// What a command touches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    /// A resource, by its serial number.
    pub(crate) resource: Option<u64>,
    /// Scanouts, one bit each.
    pub(crate) scanouts: u16,
}

impl Lanes {
    fn share(&self, other: &Self) -> bool {
        self.scanouts & other.scanouts != 0
            || (self.resource.is_some() && self.resource == other.resource)
    }
}

/// What a command does once nothing is in its way.
pub(crate) type Work = Box<dyn FnOnce(&Core) -> Result<Response, Error> + Send>;

/// A command that may have to wait.
pub(crate) struct Task {
    pub(crate) lanes: Lanes,
    /// Other users' work that must end first.
    pub(crate) fences: Vec<Fence>,
    pub(crate) work: Work,
}

impl Task {
    /// A command that waits for those before it only.
    pub(crate) fn now(
        lanes: Lanes,
        work: impl FnOnce(&Core) -> Result<Response, Error> + Send + 'static,
    ) -> Self {
        Self::after(Vec::new(), lanes, work)
    }

    /// A command that waits for `fences` too.
    pub(crate) fn after(
        fences: Vec<Fence>,
        lanes: Lanes,
        work: impl FnOnce(&Core) -> Result<Response, Error> + Send + 'static,
    ) -> Self {
        Self {
            lanes,
            fences,
            work: Box::new(work),
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.fences.iter().all(|fence| fence.outcome().is_some())
    }
}

pub(super) struct Job {
    pub(super) task: Task,
    pub(super) answer: Answer,
    /// `None` where the clock can't count so far.
    pub(super) deadline: Option<Instant>,
}

impl Job {
    /// Until when it waits for its fences, if it still does.
    fn limit(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.task.is_due())
    }
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Job>,
    pub(super) running: Vec<(u64, Lanes)>,
    next: u64,
    /// Fences that will wake the worker: each is told so once, however many
    /// commands wait for it.
    pub(super) watched: Vec<Fence>,
    pub(super) worker: Option<JoinHandle<()>>,
    pub(super) stopped: bool,
}

impl Queue {
    pub(super) fn start(&mut self, lanes: Lanes) -> u64 {
        let number = self.next;
        self.next += 1;
        self.running.push((number, lanes));
        number
    }

    /// Whether a command with these lanes must wait for one before it.
    pub(super) fn is_blocked(&self, lanes: &Lanes) -> bool {
        let running = self.running.iter().map(|(_, lanes)| lanes);
        let waiting = self.waiting.iter().map(|job| &job.task.lanes);
        running.chain(waiting).any(|other| other.share(lanes))
    }

    /// A flush that waits behind the scanout of its resource belongs to that
    /// scanout's lane too, or a later scanout could overtake it.
    pub(super) fn widen(&self, lanes: &mut Lanes) {
        for job in &self.waiting {
            if job.task.lanes.share(lanes) {
                lanes.scanouts |= job.task.lanes.scanouts;
            }
        }
    }

    /// The first waiting job that nothing blocks and whose fences are
    /// signalled.
    pub(super) fn first_due(&self) -> Option<usize> {
        let mut scanouts = 0;
        let mut resources = HashSet::new();
        for (_, lanes) in &self.running {
            scanouts |= lanes.scanouts;
            resources.extend(lanes.resource);
        }
        for (index, job) in self.waiting.iter().enumerate() {
            let lanes = &job.task.lanes;
            let blocked = lanes.scanouts & scanouts != 0
                || lanes
                    .resource
                    .is_some_and(|serial| resources.contains(&serial));
            if !blocked && job.task.is_due() {
                return Some(index);
            }
            scanouts |= lanes.scanouts;
            resources.extend(lanes.resource);
        }
        None
    }

    /// The first job that waited too long for its fences. One that waits for
    /// earlier commands only is never given up: they end, or are.
    pub(super) fn first_expired(&self, now: Instant) -> Option<usize> {
        self.waiting
            .iter()
            .position(|job| job.limit().is_some_and(|deadline| deadline <= now))
    }

    /// When the next job will have waited too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(Job::limit).min()
    }

    /// The fences among `fences` that nobody watches yet; they count as
    /// watched from now on.
    pub(super) fn unwatched(&mut self, fences: &[Fence]) -> Vec<Fence> {
        self.watched.retain(|fence| fence.outcome().is_none());
        let mut new = Vec::new();
        for fence in fences {
            if !self.watched.iter().any(|watched| watched.is(fence)) {
                self.watched.push(fence.clone());
                new.push(fence.clone());
            }
        }
        new
    }
}
