//! The book of a window: what is mapped where, and what may still be.
//!
//! A place is written down before the VMM is asked and struck out after it has
//! answered, because no lock is held while it is asked. A reset meanwhile
//! leaves such a place standing until the answer is there: nobody else can take
//! it in between and lose it to the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::importers::window::{MAX_MAPS, PAGE, Window, WindowError};
use crate::tenant::Charge;

#[derive(Default)]
pub(super) struct Book {
    places: BTreeMap<u64, Entry>,
    next: u64,
    /// Offset and length of what the last reset forgot. The VMM dropped all that,
    /// unless it mapped it between its own reset and ours.
    forgotten: BTreeMap<u64, u64>,
}

/// What is removed from the book is dropped without its lock: the last drop of
/// a buffer takes other locks.
struct Entry {
    len: u64,
    /// Tells places that have the same offset at different times apart.
    ticket: u64,
    state: State,
    _charge: Charge,
}

enum State {
    /// The VMM is being asked to map or to unmap it.
    Asking {
        /// The window was reset since.
        reset: bool,
    },
    Mapped,
    /// The buffer's memory was taken away: the place is kept for its return.
    Withdrawn,
    /// The guest may still reach it. The buffer stays paid for.
    Lost(#[expect(dead_code, reason = "kept alive, not looked at")] Buffer),
}

impl Book {
    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn check(&self, offset: u64, len: u64, size: u64) -> Result<(), WindowError> {
        if !offset.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) || len == 0 {
            return Err(WindowError::Misaligned { offset, len });
        }
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= size)
            .ok_or(WindowError::Outside { offset, len, size })?;
        // Places are disjoint, so that only the last one before `end` can reach in.
        if let Some((&other, entry)) = self.places.range(..end).next_back()
            && other + entry.len > offset
        {
            return Err(WindowError::Overlap { offset, len, other });
        }
        if self.places.len() >= MAX_MAPS {
            return Err(WindowError::TooMany);
        }
        Ok(())
    }

    fn entry(&mut self, offset: u64, ticket: u64) -> Option<&mut Entry> {
        let entry = self.places.get_mut(&offset)?;
        (entry.ticket == ticket).then_some(entry)
    }
}

/// Forgets everything that the VMM is not being asked about.
pub(super) fn reset(window: &Window) {
    let mut book = window.book();
    let (mut asking, forgotten): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(&mut book.places)
            .into_iter()
            .partition(|(_, entry)| matches!(entry.state, State::Asking { .. }));
    for entry in asking.values_mut() {
        entry.state = State::Asking { reset: true };
    }
    book.places = asking;
    // The VMM's own reset was the end of what lingered before.
    book.forgotten = forgotten
        .iter()
        .filter(|(_, entry)| matches!(entry.state, State::Mapped | State::Lost(_)))
        .map(|(offset, entry)| (*offset, entry.len))
        .collect();
    drop(book);
    drop(forgotten);
}

/// A place in a window. Dropped without a word (an error, a panic), it counts
/// as lost: the guest may still reach the buffer.
pub(super) struct Place {
    window: Arc<Window>,
    buffer: Buffer,
    offset: u64,
    len: u64,
    ticket: u64,
    free: bool,
}

impl Place {
    /// Takes the place for `buffer`, before the VMM is asked to map it.
    pub(super) fn take(
        window: &Arc<Window>,
        buffer: &Buffer,
        offset: u64,
        charge: Charge,
    ) -> Result<Self, WindowError> {
        let len = buffer.size();
        let mut book = window.book();
        book.check(offset, len, window.size())?;
        let ticket = book.next;
        book.next += 1;
        book.places.insert(
            offset,
            Entry {
                len,
                ticket,
                state: State::Asking { reset: false },
                _charge: charge,
            },
        );
        drop(book);
        Ok(Self {
            window: Arc::clone(window),
            buffer: buffer.clone(),
            offset,
            len,
            ticket,
            free: false,
        })
    }

    pub(super) fn window(&self) -> &Arc<Window> {
        &self.window
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What was forgotten by a reset and may linger in this place, which the VMM
    /// would not give us. It is said once.
    pub(super) fn lingering(&self) -> BTreeMap<u64, u64> {
        let (at, end) = (self.offset, self.offset + self.len);
        let mut book = self.window.book();
        let (lingering, rest) = std::mem::take(&mut book.forgotten)
            .into_iter()
            .partition(|(offset, len)| *offset < end && offset + len > at);
        book.forgotten = rest;
        lingering
    }

    /// The same of the whole window, once it could be too much for the VMM together
    /// with what is in the book.
    pub(super) fn crowding(&self) -> BTreeMap<u64, u64> {
        let mut book = self.window.book();
        if book.len() + book.forgotten.len() <= MAX_MAPS {
            return BTreeMap::new();
        }
        std::mem::take(&mut book.forgotten)
    }

    /// The VMM has mapped it. `false`: the window was reset meanwhile, and
    /// nobody knows whether before the VMM mapped it or after.
    pub(super) fn mapped(&self) -> bool {
        match self.window.book().entry(self.offset, self.ticket) {
            Some(Entry {
                state: state @ State::Asking { reset: false },
                ..
            }) => {
                *state = State::Mapped;
                true
            }
            _ => false,
        }
    }

    /// The VMM is about to be asked to unmap it. `false`: the window was reset,
    /// and there is nothing to unmap.
    pub(super) fn unmapping(&self) -> bool {
        match self.window.book().entry(self.offset, self.ticket) {
            Some(entry) => {
                entry.state = State::Asking { reset: false };
                true
            }
            None => false,
        }
    }

    /// Nothing is mapped there, but may be again. `false`: the window was reset.
    pub(super) fn withdrawn(&self) -> bool {
        match self.window.book().entry(self.offset, self.ticket) {
            Some(Entry {
                state: state @ State::Asking { reset: false },
                ..
            }) => {
                *state = State::Withdrawn;
                true
            }
            _ => false,
        }
    }

    /// The VMM is about to be asked to map it again. `false`: the window was
    /// reset, and the place is nobody's.
    pub(super) fn mapping_again(&self) -> bool {
        // The same question of the book, with another answer to come.
        self.unmapping()
    }

    /// What is mapped there is another buffer's from now on. Returns the one
    /// that it was.
    pub(super) fn hand_over(&mut self, to: &Buffer) -> Buffer {
        std::mem::replace(&mut self.buffer, to.clone())
    }

    /// Nothing is mapped there any more.
    pub(super) fn free(mut self) {
        self.free = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.window.book();
        let Some(entry) = book.entry(self.offset, self.ticket) else {
            return;
        };
        let removed = if self.free || matches!(entry.state, State::Asking { reset: true }) {
            book.places.remove(&self.offset)
        } else {
            entry.state = State::Lost(self.buffer.clone());
            None
        };
        drop(book);
        drop(removed);
    }
}
