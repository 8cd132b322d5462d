//! What is happening to a buffer's memory, and to whom.
//!
//! ```text
//!          ┌────────── Moving ◄─────┐
//!          ▼                        │
//!        Live ───► Revoking ───► Revoked
//!          ▲                        │
//!          └────── Restoring ◄──────┘
//! ```
//! One at a time: who comes second waits. A revocation does not wait for a move
//! to get its fences: it hurries it, and the move gives up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::fence::Fence;
use crate::holder::{Holder, Notice};
use crate::mutants::{Mutant, seeded};
use crate::reservation::{Reservation, Usage};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::terms::{Direction, Terms};

/// What is happening to a buffer's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Life {
    /// Nothing: it is there.
    #[default]
    Live,
    /// It is being moved.
    Moving,
    /// It is being taken away.
    Revoking,
    /// It was taken away.
    Revoked {
        /// Whether it may come back.
        restorable: bool,
    },
    /// It is coming back.
    Restoring,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Moving => "moving",
            Self::Revoking => "being revoked",
            Self::Revoked { restorable: true } => "revoked, restorable",
            Self::Revoked { restorable: false } => "revoked",
            Self::Restoring => "being restored",
        })
    }
}

/// One importer that is attached.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) terms: Terms,
    /// `Some`, unless its memory stays where it is and it can't let go.
    pub(crate) holder: Option<Arc<dyn Holder>>,
    /// The answer to what the holder was last asked on a thread of its own: what
    /// it is asked next waits for it.
    pub(crate) asked: Arc<Mutex<Option<Fence>>>,
}

impl Record {
    pub(crate) fn new(name: &str, terms: Terms, holder: Option<Arc<dyn Holder>>) -> Self {
        Self {
            name: name.to_owned(),
            terms,
            holder,
            asked: Arc::default(),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the reservation's lock guards.
#[derive(Debug, Default)]
pub(super) struct State {
    fences: Vec<(Usage, Fence)>,
    life: Life,
    /// By when a revocation is to be over.
    deadline: Option<Instant>,
    /// How many revocations wait for what is happening now to end.
    hurry: usize,
    moves: u64,
    importers: BTreeMap<u64, Record>,
    next: u64,
}

impl State {
    pub(super) fn add(&mut self, fence: Fence, direction: Direction) -> Vec<Fence> {
        let before = self.pending(Usage::blocking(direction));
        self.fences.push((Usage::of(direction), fence));
        before
    }

    pub(super) fn add_as(&mut self, fence: Fence, usage: Usage) {
        self.fences.retain(|(_, fence)| fence.outcome().is_none());
        self.fences.push((usage, fence));
    }

    pub(super) fn pending(&mut self, up_to: Usage) -> Vec<Fence> {
        self.fences.retain(|(_, fence)| fence.outcome().is_none());
        self.fences
            .iter()
            .filter(|(usage, _)| *usage <= up_to)
            .map(|(_, fence)| fence.clone())
            .collect()
    }

    fn tell(&self, notice: Notice) {
        for record in self.importers.values() {
            if let Some(holder) = &record.holder {
                holder.told(notice);
            }
        }
    }

    fn is_here(&self) -> bool {
        matches!(self.life, Life::Live | Life::Moving)
    }
}

/// The memory is not there: it was taken away, or is being taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotThere;

/// Where the memory was when somebody began to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    cuts: u64,
    moves: u64,
}

/// How a revocation, a move or a restoration begins.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The caller does it; the fences were pending before.
    Yours(Vec<Fence>),
    /// It is as asked for already.
    Already,
    /// It can't be: the memory was taken away.
    No,
    /// It can't be moved: these importers hold it still.
    Pinned(Vec<String>),
    /// Time ran out while something else was happening.
    Late(Life),
}

/// How a wait for fences ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    All,
    /// Time ran out, with a fence of this label pending.
    Late(String),
    /// A revocation does not want to wait.
    Hurried,
}

impl Reservation {
    /// What is happening to the memory.
    pub fn life(&self) -> Life {
        self.lock().life
    }

    pub(crate) fn importers(&self) -> Vec<Record> {
        self.lock().importers.values().cloned().collect()
    }

    /// Lets an importer in. One that pins waits until a move is over.
    pub(crate) fn join(&self, record: &Record) -> Result<u64, NotThere> {
        loop {
            let seen = *self.0.pulse();
            let mut state = self.lock();
            if !state.is_here() && !seeded(Mutant::LateJoin) {
                return Err(NotThere);
            }
            if state.life == Life::Moving && record.terms.pins() {
                drop(state);
                self.0.wait_since(seen, None);
                continue;
            }
            let number = state.next;
            state.next += 1;
            state.importers.insert(number, record.clone());
            return Ok(number);
        }
    }

    pub(crate) fn leave(&self, number: u64) {
        // What is removed is dropped without the lock.
        let record = self.lock().importers.remove(&number);
        drop(record);
        self.0.beat();
    }

    /// As [`add`](Self::add), for work on memory that is there or will be.
    pub(crate) fn enter(
        &self,
        fence: Fence,
        direction: Direction,
    ) -> Result<(Vec<Fence>, u64), NotThere> {
        let mut state = self.lock();
        if !state.is_here() && !seeded(Mutant::LateEnter) {
            return Err(NotThere);
        }
        let before = state.add(fence, direction);
        Ok((before, self.cuts()))
    }

    /// How many cuts there were, unless the memory is away. Where it is the same
    /// twice, the memory was not away in between.
    pub(crate) fn presence(&self) -> Result<u64, NotThere> {
        let state = self.lock();
        match state.life {
            Life::Revoking | Life::Revoked { .. } => Err(NotThere),
            Life::Live | Life::Moving | Life::Restoring => Ok(self.cuts()),
        }
    }

    /// Where the memory is, once it holds still.
    pub(crate) fn pass(&self) -> Result<Pass, NotThere> {
        loop {
            let seen = *self.0.pulse();
            let state = self.lock();
            match state.life {
                Life::Live => {
                    return Ok(Pass {
                        cuts: self.cuts(),
                        moves: state.moves,
                    });
                }
                Life::Moving => drop(state),
                _ => return Err(NotThere),
            }
            // A move ends by its own deadline.
            self.0.wait_since(seen, None);
        }
    }

    /// Calls `keep` if the memory is still where it was, under the lock: what it
    /// keeps is told of everything from then on.
    pub(crate) fn if_still<R>(&self, pass: Pass, keep: impl FnOnce() -> R) -> Option<R> {
        let state = self.lock();
        let same =
            state.life == Life::Live && pass.moves == state.moves && pass.cuts == self.cuts();
        (same || seeded(Mutant::StaleMapping)).then(keep)
    }

    /// Begins to take the memory away: from now on nobody comes in. Joins a
    /// revocation that is under way, which then ends by the earlier deadline.
    pub(crate) fn begin_revoke(&self, deadline: Option<Instant>) -> Begun {
        let mut hurrying = false;
        loop {
            let seen = *self.0.pulse();
            let mut state = self.lock();
            let life = match state.life {
                Life::Moving if seeded(Mutant::RevokeInMove) => Life::Live,
                life => life,
            };
            match life {
                Life::Live => {
                    state.hurry -= usize::from(hurrying);
                    state.life = Life::Revoking;
                    state.deadline = deadline;
                    self.0.cuts.fetch_add(1, Ordering::AcqRel);
                    state.tell(Notice::Revoke);
                    let fences = state.pending(Usage::Bookkeep);
                    return Begun::Yours(fences);
                }
                Life::Revoked { .. } => {
                    state.hurry -= usize::from(hurrying);
                    return Begun::Already;
                }
                Life::Revoking if seeded(Mutant::HalfRevoked) => return Begun::Already,
                Life::Revoking => {
                    let earlier = match (state.deadline, deadline) {
                        (Some(there), Some(asked)) => Some(there.min(asked)),
                        (there, asked) => there.or(asked),
                    };
                    if earlier != state.deadline {
                        state.deadline = earlier;
                        drop(state);
                        self.0.beat();
                        continue;
                    }
                }
                Life::Moving | Life::Restoring => {
                    if !hurrying {
                        hurrying = true;
                        state.hurry += 1;
                        drop(state);
                        self.0.beat();
                        continue;
                    }
                }
            }
            drop(state);
            // What goes on ends by its own deadline, or because it is hurried.
            self.0.wait_since(seen, None);
        }
    }

    /// Whoever has not ended by now is cut off.
    pub(crate) fn begin_cut(&self) {
        self.0.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// Work that a revocation did not wait for is over for good.
    pub(crate) fn end_revoke(&self, restorable: bool) {
        let mut state = self.lock();
        state.life = Life::Revoked { restorable };
        state.deadline = None;
        // Nobody who comes after a restoration waits for who was cut off.
        let cut = if seeded(Mutant::StaleFences) {
            Vec::new()
        } else {
            std::mem::take(&mut state.fences)
        };
        drop(state);
        drop(cut);
        self.0.beat();
    }

    /// What was taken away never comes back.
    pub(crate) fn bury(&self) {
        let mut state = self.lock();
        if let Life::Revoked { restorable } = &mut state.life {
            *restorable = false;
        }
    }

    /// Begins to give the memory back, once a revocation that goes on is over.
    pub(crate) fn begin_restore(&self, deadline: Option<Instant>) -> Begun {
        loop {
            let seen = *self.0.pulse();
            let mut state = self.lock();
            match state.life {
                Life::Live | Life::Moving => return Begun::Already,
                Life::Revoked { restorable: false } => return Begun::No,
                Life::Revoking if seeded(Mutant::EarlyRestore) => {
                    state.life = Life::Restoring;
                    return Begun::Yours(Vec::new());
                }
                Life::Revoked { restorable: true } => {
                    state.life = Life::Restoring;
                    return Begun::Yours(Vec::new());
                }
                Life::Revoking | Life::Restoring => {}
            }
            let life = state.life;
            drop(state);
            if !self.0.wait_since(seen, deadline) {
                return Begun::Late(life);
            }
        }
    }

    /// The memory is back, or is not after all.
    pub(crate) fn end_restore(&self, is_back: bool) {
        let mut state = self.lock();
        state.life = if is_back {
            Life::Live
        } else {
            Life::Revoked { restorable: true }
        };
        if is_back {
            state.tell(Notice::Back);
        }
        drop(state);
        self.0.beat();
    }

    /// Begins to move the memory: whoever comes from now on waits for `moving`.
    pub(crate) fn begin_move(&self, moving: &Fence, deadline: Option<Instant>) -> Begun {
        loop {
            let seen = *self.0.pulse();
            let mut state = self.lock();
            match state.life {
                Life::Live => {
                    let pins = |record: &&Record| record.terms.pins();
                    let pinned = state.importers.values().filter(pins);
                    let pinned: Vec<_> = pinned.map(|record| record.name.clone()).collect();
                    if !pinned.is_empty() && !seeded(Mutant::MovePinned) {
                        return Begun::Pinned(pinned);
                    }
                    state.life = Life::Moving;
                    let fences = state.pending(Usage::Bookkeep);
                    if !seeded(Mutant::NoKernelFence) {
                        state.add_as(moving.clone(), Usage::Kernel);
                    }
                    state.tell(Notice::Move);
                    return Begun::Yours(fences);
                }
                Life::Revoking | Life::Revoked { .. } => return Begun::No,
                Life::Moving | Life::Restoring => {}
            }
            let life = state.life;
            drop(state);
            if !self.0.wait_since(seen, deadline) {
                return Begun::Late(life);
            }
        }
    }

    pub(crate) fn end_move(&self, moved: bool) {
        let mut state = self.lock();
        state.life = Life::Live;
        state.moves += u64::from(moved);
        state.tell(Notice::Back);
        drop(state);
        self.0.beat();
    }

    /// Whether a revocation waits for what is happening now.
    pub(crate) fn is_hurried(&self) -> bool {
        self.lock().hurry > 0
    }

    /// Waits for `fences`: for a revocation until its deadline, for a move until
    /// `deadline` or until a revocation comes.
    pub(crate) fn drain(&self, fences: &[Fence], deadline: Option<Instant>) -> Drained {
        let broken = match self.life() {
            Life::Revoking => Mutant::Impatient,
            _ => Mutant::MoveAtOnce,
        };
        if seeded(broken) {
            return Drained::All;
        }
        self.watch(fences);
        loop {
            let seen = *self.0.pulse();
            let Some(pending) = fences.iter().find(|fence| fence.outcome().is_none()) else {
                return Drained::All;
            };
            let (until, hurried) = {
                let state = self.lock();
                match state.life {
                    Life::Revoking => (state.deadline, false),
                    _ => (deadline, state.hurry > 0),
                }
            };
            if hurried {
                return Drained::Hurried;
            }
            if !self.0.wait_since(seen, until) {
                return Drained::Late(pending.label().to_owned());
            }
        }
    }
}
