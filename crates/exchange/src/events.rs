//! What happens to buffers, told as it happens: to the log, and to whoever
//! subscribed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::buffer::BufferId;
use crate::fence;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, wait_until};

/// The most events that wait for a subscriber; what comes after is missed.
pub const MAX_WAITING: usize = 1024;

/// What happened to a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// An importer attached.
    Attached {
        /// Who.
        importer: String,
    },
    /// An importer detached.
    Detached {
        /// Who.
        importer: String,
    },
    /// An importer mapped it.
    Mapped {
        /// Who.
        importer: String,
    },
    /// An importer was refused.
    Refused {
        /// Who.
        importer: String,
        /// Why, in words.
        reason: String,
    },
    /// It was taken away.
    Revoked {
        /// How long that took.
        took: Duration,
        /// Whether it may come back.
        restorable: bool,
    },
    /// An importer did not let go in time and was cut off.
    CutOff {
        /// Who.
        importer: String,
    },
    /// It came back.
    Restored,
    /// It was moved.
    Moved {
        /// What backed it.
        from: String,
        /// What backs it now.
        to: String,
        /// How long that took.
        took: Duration,
    },
    /// It was to be moved and was not.
    MoveFailed {
        /// Why, in words.
        reason: String,
    },
}

impl What {
    /// The event's name: one word, or two with a hyphen.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attached { .. } => "attached",
            Self::Detached { .. } => "detached",
            Self::Mapped { .. } => "mapped",
            Self::Refused { .. } => "refused",
            Self::Revoked { .. } => "revoked",
            Self::CutOff { .. } => "cut-off",
            Self::Restored => "restored",
            Self::Moved { .. } => "moved",
            Self::MoveFailed { .. } => "move-failed",
        }
    }

    /// The importer that it is about, if it is about one.
    pub fn importer(&self) -> Option<&str> {
        match self {
            Self::Attached { importer }
            | Self::Detached { importer }
            | Self::Mapped { importer }
            | Self::Refused { importer, .. }
            | Self::CutOff { importer } => Some(importer),
            _ => None,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached { importer } => write!(f, "{importer} attached"),
            Self::Detached { importer } => write!(f, "{importer} detached"),
            Self::Mapped { importer } => write!(f, "{importer} mapped it"),
            Self::Refused { reason, .. } => f.write_str(reason),
            Self::Revoked { took, restorable } => {
                let back = if *restorable {
                    "may come back"
                } else {
                    "is gone for good"
                };
                write!(f, "revoked in {took:?}: it {back}")
            }
            Self::CutOff { importer } => write!(f, "{importer} was cut off"),
            Self::Restored => f.write_str("restored"),
            Self::Moved { from, to, took } => write!(f, "moved from {from} to {to} in {took:?}"),
            Self::MoveFailed { reason } => write!(f, "not moved: {reason}"),
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Events are numbered from 0 in the order that they happened.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// To which buffer.
    pub buffer: BufferId,
    /// The buffer's UUID, if it has one.
    pub uuid: Option<Uuid>,
    /// What.
    pub what: What,
}

/// Who listens, and how many events there were.
#[derive(Default)]
pub(crate) struct Events {
    happened: AtomicU64,
    /// Spares everybody the lock while nobody listens.
    heard: AtomicBool,
    subscribers: Mutex<Vec<Weak<Queue>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    missed: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    /// Says what happened.
    pub(crate) fn tell(&self, buffer: BufferId, uuid: Option<Uuid>, what: What) {
        tracing::debug!(%buffer, event = what.name(), "{what}");
        let number = self.happened.fetch_add(1, Ordering::Relaxed);
        if !self.heard.load(Ordering::Acquire) {
            return;
        }
        let event = Event {
            number,
            at: SystemTime::now(),
            buffer,
            uuid,
            what,
        };
        let mut subscribers = self.subscribers();
        subscribers.retain(|subscriber| {
            let Some(queue) = subscriber.upgrade() else {
                return false;
            };
            let mut waiting = queue.lock();
            if waiting.events.len() < MAX_WAITING {
                waiting.events.push_back(event.clone());
            } else {
                waiting.missed += 1;
            }
            drop(waiting);
            queue.changed.notify_all();
            true
        });
        if subscribers.is_empty() {
            self.heard.store(false, Ordering::Release);
        }
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        let queue = Arc::<Queue>::default();
        let mut subscribers = self.subscribers();
        subscribers.push(Arc::downgrade(&queue));
        self.heard.store(true, Ordering::Release);
        Subscription(queue)
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of every event from now on, until dropped.
pub struct Subscription(Arc<Queue>);

impl Subscription {
    /// The next event; waits for it at most for `limit`.
    pub fn next(&self, limit: Duration) -> Option<Event> {
        let deadline = fence::deadline(limit);
        let mut waiting = self.0.lock();
        loop {
            if let Some(event) = waiting.events.pop_front() {
                return Some(event);
            }
            waiting = wait_until(&self.0.changed, &self.0.state, waiting, deadline)?;
        }
    }

    /// How many events were missed since the last time that somebody asked:
    /// those that came while [`MAX_WAITING`] were waiting.
    pub fn missed(&self) -> u64 {
        std::mem::take(&mut self.0.lock().missed)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
