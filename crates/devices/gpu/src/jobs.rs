//! Commands that wait: for other users of a buffer, or for commands before
//! them.
//!
//! A command that touches pixels names its [`Lanes`]. Commands that share a
//! lane run one after another, in the guest's order; all others go on
//! meanwhile. A command that need not wait runs at once on the queue's thread.
//! One that must wait runs on the device's worker, when the fences that it
//! waits for are signalled. Each has a deadline, and there is a bound on how
//! many wait, so that a writer that never ends costs a guest its pictures and
//! the host nothing.

mod queue;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use landbridge_exchange::Fence;

use crate::answer::Answer;
use crate::core::Core;
use crate::error::Error;
use crate::jobs::queue::{Job, Queue};

pub(crate) use queue::{Lanes, Task};

/// What the worker does next.
enum Next {
    Run(Job, u64),
    Expire(Job),
}

/// The commands of one device that wait or run.
#[derive(Default)]
pub(crate) struct Jobs {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// A running command's lanes, free again when it ends.
struct Running<'a> {
    jobs: &'a Jobs,
    number: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut queue = self.jobs.lock();
        queue.running.retain(|(number, _)| *number != self.number);
        drop(queue);
        self.jobs.changed.notify_all();
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Commands run outside the lock, so nothing under it can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command now, or lets it wait.
    pub(crate) fn submit(core: &Arc<Core>, mut task: Task, answer: Answer) {
        let bounds = core.config.bounds;
        let mut queue = core.jobs.lock();
        if task.is_due() && !queue.is_blocked(&task.lanes) {
            let number = queue.start(task.lanes);
            drop(queue);
            return core.jobs.run(core, number, task, answer);
        }
        if queue.waiting.len() >= bounds.waiting {
            drop(queue);
            return answer.finish(Err(Error::Bound {
                what: "commands that wait for a buffer",
                limit: bounds.waiting,
            }));
        }
        if let Err(error) = ensure_worker(&mut queue, core) {
            drop(queue);
            tracing::warn!(%error, "a command can't wait: no thread for it");
            return answer.finish(Err(Error::Bound {
                what: "threads",
                limit: 0,
            }));
        }
        core.metrics.deferred.add(1);
        queue.widen(&mut task.lanes);
        let fences = queue.unwatched(&task.fences);
        queue.waiting.push_back(Job {
            task,
            answer,
            deadline: Instant::now().checked_add(bounds.patience),
        });
        drop(queue);
        for fence in fences {
            let core = Arc::downgrade(core);
            // A fence that is signalled already calls back at once.
            fence.on_signal(move |_| wake(&core));
        }
        core.jobs.changed.notify_all();
    }

    fn run(&self, core: &Core, number: u64, task: Task, answer: Answer) {
        let running = Running { jobs: self, number };
        let result = (task.work)(core);
        drop(running);
        answer.finish(result);
    }

    /// Refuses the commands that wait for a resource which is no more.
    pub(crate) fn cancel(&self, serial: u64, id: u32) {
        let mut queue = self.lock();
        let waiting = std::mem::take(&mut queue.waiting);
        let (gone, rest): (Vec<_>, _) = waiting
            .into_iter()
            .partition(|job| job.task.lanes.resource == Some(serial));
        queue.waiting = rest.into_iter().collect::<VecDeque<_>>();
        drop(queue);
        for job in gone {
            job.answer.finish(Err(Error::NoResource(id)));
        }
        self.changed.notify_all();
    }

    /// Forgets all commands that wait.
    pub(crate) fn reset(&self) {
        let mut queue = self.lock();
        let forgotten = std::mem::take(&mut queue.waiting);
        queue.watched.clear();
        drop(queue);
        drop(forgotten);
    }

    /// How many commands wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Ends the worker.
    pub(crate) fn stop(&self) {
        let mut queue = self.lock();
        queue.stopped = true;
        let worker = queue.worker.take();
        drop(queue);
        self.changed.notify_all();
        if let Some(worker) = worker
            && worker.thread().id() != thread::current().id()
        {
            // A panic of the worker was reported when it happened.
            let _ = worker.join();
        }
    }

    /// What is to be done next; waits until there is something. `None` when the
    /// device ends.
    fn next(&self) -> Option<Next> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(index) = queue.first_due()
                && let Some(job) = queue.waiting.remove(index)
            {
                let number = queue.start(job.task.lanes);
                return Some(Next::Run(job, number));
            }
            let now = Instant::now();
            if let Some(index) = queue.first_expired(now)
                && let Some(job) = queue.waiting.remove(index)
            {
                return Some(Next::Expire(job));
            }
            let deadline = queue.next_deadline();
            queue = match deadline {
                Some(deadline) => {
                    self.changed
                        .wait_timeout(queue, deadline - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Starts the worker, or again if it ended.
fn ensure_worker(queue: &mut Queue, core: &Arc<Core>) -> std::io::Result<()> {
    if queue.worker.as_ref().is_none_or(JoinHandle::is_finished) {
        let core = Arc::clone(core);
        let builder = thread::Builder::new().name("gpu worker".to_owned());
        queue.worker = Some(builder.spawn(move || work(&core))?);
    }
    Ok(())
}

fn wake(core: &Weak<Core>) {
    if let Some(core) = core.upgrade() {
        // Under the lock, or the worker could miss it between looking at the
        // fence and falling asleep.
        drop(core.jobs.lock());
        core.jobs.changed.notify_all();
    }
}

/// The worker's life.
fn work(core: &Core) {
    while let Some(next) = core.jobs.next() {
        match next {
            Next::Run(job, number) => core.jobs.run(core, number, job.task, job.answer),
            Next::Expire(job) => expire(core, job),
        }
    }
}

fn expire(core: &Core, job: Job) {
    core.metrics.stuck.add(1);
    let pending = job
        .task
        .fences
        .iter()
        .find(|fence| fence.outcome().is_none());
    let waiting_for = pending.map_or("an earlier command", Fence::label);
    let error = Error::Stuck {
        limit: core.config.bounds.patience,
        waiting_for: waiting_for.to_owned(),
    };
    job.answer.finish(Err(error));
}
