//! The guard that leads to the bytes.

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::bracketed::Bracketed;
use crate::dma_buf::Direction;
use crate::error::Result;
use crate::mapping::View;

/// CPU access that has begun and must end. End it with [`Bracket::end`]; when it
/// is dropped instead, what its end meets is told to the next.
#[derive(Debug)]
#[must_use = "the access ends when this is dropped"]
pub struct Bracket<'a> {
    of: Held<'a>,
    direction: Direction,
    range: Range<usize>,
    open: bool,
}

/// The mapping of a bracket: somebody else's, or one that the bracket keeps.
#[derive(Debug)]
pub(super) enum Held<'a> {
    Borrowed(&'a Bracketed),
    Kept(Arc<Bracketed>),
}

impl Deref for Held<'_> {
    type Target = Bracketed;

    fn deref(&self) -> &Bracketed {
        match self {
            Self::Borrowed(memory) => memory,
            Self::Kept(memory) => memory,
        }
    }
}

impl<'a> Bracket<'a> {
    /// A bracket that `of` has counted.
    pub(super) fn new(of: Held<'a>, direction: Direction, range: Range<usize>) -> Self {
        Self {
            of,
            direction,
            range,
            open: true,
        }
    }

    /// The bytes of its range: read-only if that is its direction. None once it
    /// was [closed](Self::close).
    pub fn view(&self) -> View<'_> {
        let view = self.of.memory.view();
        // Within the mapping, as was checked at the start.
        let view = view.slice(self.range.clone()).unwrap_or(view);
        if self.direction.writes() {
            view
        } else {
            view.read_only()
        }
    }

    /// The address of its first byte, for code that isn't Rust. It means
    /// something until the bracket ends.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.of
            .memory
            .mapping()
            .start()
            .wrapping_add(self.range.start)
    }

    /// What it allows.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Which bytes of the buffer it leads to.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Ends the access: makes the CPU's writes visible to devices.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys): devices may not see what was written.
    /// [`Error::Gone`](crate::Error::Gone): the memory went away, and what was
    /// read may be zeros; [`Error::Revoked`](crate::Error::Revoked) likewise
    /// where it was taken away.
    pub fn end(mut self) -> Result<()> {
        self.close()
    }

    /// The same for who can't give the bracket away. Closing it again does
    /// nothing.
    ///
    /// # Errors
    /// As for [`end`](Self::end).
    pub fn close(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        self.range = 0..0;
        self.of.end(self.direction)
    }
}

impl Drop for Bracket<'_> {
    fn drop(&mut self) {
        if self.open {
            self.of.end_later(self.direction);
        }
    }
}
