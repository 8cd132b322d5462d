//! Words in a mapping, read and written in one access each: device registers,
//! and memory that a device reads and writes by itself.
#![expect(unsafe_code, reason = "registers are reached by address")]

use std::sync::atomic::{Ordering, fence};

use super::memory::Map;

/// A word that a device has registers of.
pub trait Word: Copy + sealed::Sealed {}

mod sealed {
    /// Any value is one, and it has no padding.
    pub trait Sealed {}
}

macro_rules! words {
    ($($word:ty),*) => {
        $(
            impl sealed::Sealed for $word {}
            impl Word for $word {}
        )*
    };
}

words!(u8, u16, u32, u64);

impl Map {
    /// The word at `at`, which is a multiple of its size. What the device wrote
    /// before it is visible afterwards.
    #[must_use]
    pub fn load<W: Word>(&self, at: usize) -> W {
        let place = self.place::<W>(at);
        // SAFETY: inside the mapping and aligned, as `place` says; any bytes are
        // a word; volatile, because a device may change it.
        let word = unsafe { place.read_volatile() };
        fence(Ordering::SeqCst);
        word
    }

    /// Sets the word at `at`, which is a multiple of its size. What was written
    /// before is visible to the device before it.
    pub fn store<W: Word>(&self, at: usize, word: W) {
        let place = self.place::<W>(at);
        fence(Ordering::SeqCst);
        // SAFETY: as for `load`; words have no destructor.
        unsafe { place.write_volatile(word) };
        fence(Ordering::SeqCst);
    }

    fn place<W: Word>(&self, at: usize) -> *mut W {
        let size = size_of::<W>();
        assert!(at.is_multiple_of(size) && at + size <= self.len());
        self.start.wrapping_add(at).cast()
    }
}
