//! A VMM that maps nothing: a test aid.
//!
//! It keeps a book of its own and refuses what a real VMM refuses (overlaps,
//! unmaps that are not exactly one map), so that a test sees what a window asks
//! of its VMM. It keeps no duplicate of a file and never looks into one.

use std::collections::BTreeMap;

use landbridge_dmabuf::{Identity, LetGo};

use crate::importers::window::{MapperError, Unmapped, WindowMap, WindowMapper};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One call that the fake got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// To map a file.
    Map {
        /// Which file; `None` where the kernel doesn't tell.
        file: Option<Identity>,
        /// Where in the window.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// To unmap what one call mapped.
    Unmap {
        /// Where in the window.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

/// How the fake answers from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// It does as asked.
    #[default]
    Obliging,
    /// It does as asked, but can't prove that nobody is left who reaches what
    /// it unmapped.
    ObligingWithoutProof,
    /// It refuses, and leaves open what became of the file.
    Refusing,
    /// It refuses, with proof that it holds nothing: what it was to unmap is
    /// gone already.
    RefusingWithProof,
    /// It does as asked, but nobody hears of it: the channel is broken.
    Vanished,
    /// It is dead: it does nothing, and nobody hears of it.
    Dead,
}

#[derive(Default)]
struct State {
    mood: Mood,
    /// The number of the call that is held up.
    held: Option<usize>,
    calls: Vec<Call>,
    maps: BTreeMap<u64, u64>,
}

/// A VMM that maps nothing.
pub struct FakeMapper {
    proof: fn() -> LetGo,
    state: Mutex<State>,
    changed: Condvar,
}

impl FakeMapper {
    /// A VMM with an empty window that does as asked.
    ///
    /// `proof` makes the [`LetGo`] of a loan that is over, which only unsafe
    /// code can, and this crate has none. What it asserts is true: the fake
    /// keeps nothing of a file.
    pub fn new(proof: fn() -> LetGo) -> Self {
        Self {
            proof,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// How it answers from now on, a call that is held up included.
    pub fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Holds the next call up until what this returns is dropped. Calls after
    /// it go on, so that a test which expects none fails instead of hanging.
    pub fn hold_up(&self) -> HoldUp<'_> {
        self.hold_up_after(0)
    }

    /// The same for the call after `more` calls, which go on.
    pub fn hold_up_after(&self, more: usize) -> HoldUp<'_> {
        let mut state = self.state();
        state.held = Some(state.calls.len() + more);
        HoldUp(self)
    }

    /// Waits until it has got `count` calls in all, one held up included.
    pub fn wait_for_calls(&self, count: usize) {
        let state = self.state();
        drop(self.wait_while(state, |state| state.calls.len() < count));
    }

    /// All calls that it got, the oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// What it would have mapped: offset and length, by offset.
    pub fn mapped(&self) -> Vec<(u64, u64)> {
        let state = self.state();
        state.maps.iter().map(|(at, len)| (*at, *len)).collect()
    }

    /// Drops all mappings by itself, as a VMM does when the device is reset.
    pub fn drop_all(&self) {
        self.state().maps.clear();
    }

    /// Dies: all mappings go with it, and no more come.
    pub fn die(&self) {
        let mut state = self.state();
        state.maps.clear();
        state.mood = Mood::Dead;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        while condition(&state) {
            let again = self.changed.wait(state);
            state = again.unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Writes the call down, waits while it is held up, and does `act`
    /// unless the mood forbids it. `act` says whether a VMM would do it.
    fn call(
        &self,
        name: &'static str,
        call: Call,
        act: impl Fn(&mut BTreeMap<u64, u64>) -> bool,
    ) -> Result<(), MapperError> {
        let mut state = self.state();
        let number = state.calls.len();
        state.calls.push(call);
        self.changed.notify_all();
        let mut state = self.wait_while(state, |state| state.held == Some(number));
        let refused = MapperError::Refused(name);
        let mood = state.mood;
        match mood {
            Mood::Obliging | Mood::ObligingWithoutProof if act(&mut state.maps) => Ok(()),
            Mood::Obliging | Mood::ObligingWithoutProof | Mood::Refusing => Err(refused),
            Mood::RefusingWithProof => {
                if matches!(call, Call::Unmap { .. }) {
                    act(&mut state.maps);
                }
                Err(refused.holding_nothing((self.proof)()))
            }
            Mood::Vanished | Mood::Dead => {
                if mood == Mood::Vanished {
                    act(&mut state.maps);
                }
                Err(MapperError::Gone {
                    call: name,
                    reason: "the fake has vanished".to_owned(),
                })
            }
        }
    }
}

/// A call is held up while this lives. A guard, so that a test that fails lets
/// its threads go on.
#[must_use = "the call goes on when this is dropped"]
pub struct HoldUp<'a>(&'a FakeMapper);

impl Drop for HoldUp<'_> {
    fn drop(&mut self) {
        self.0.state().held = None;
        self.0.changed.notify_all();
    }
}

impl WindowMapper for FakeMapper {
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError> {
        let (offset, len) = (map.offset, map.len);
        let call = Call::Map {
            file: Identity::of(map.file).ok(),
            offset,
            len,
        };
        self.call("map", call, |maps| {
            let free = maps
                .range(..offset.saturating_add(len))
                .next_back()
                .is_none_or(|(other, other_len)| other + other_len <= offset);
            free && maps.insert(offset, len).is_none()
        })
    }

    fn unmap(&self, offset: u64, len: u64) -> Result<Unmapped, MapperError> {
        self.call("unmap", Call::Unmap { offset, len }, |maps| {
            maps.get(&offset) == Some(&len) && maps.remove(&offset).is_some()
        })?;
        let mood = self.state().mood;
        Ok(match mood {
            Mood::ObligingWithoutProof => Unmapped::Unproven,
            _ => Unmapped::Proven((self.proof)()),
        })
    }
}
