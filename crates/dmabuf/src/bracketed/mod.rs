//! A dma-buf mapped so that nobody can forget the bracket.
//!
//! The kernel's rule for CPU access is: map the dma-buf itself, whole, say when
//! access starts and when it ends, and wait for fences in between. On coherent
//! hardware leaving that out works, which is why it is left out, and the bytes
//! are stale on the next machine. Here a [`Bracket`] is the only way to the
//! bytes, and it knows its direction and its range.
//!
//! * **Nesting.** Brackets may overlap, of several threads too. A start is told
//!   to the kernel even where readers are in, because a device may have written
//!   since they came; but not where a writer is, whose bytes a start would throw
//!   away where caches aren't coherent. An end is told once the last bracket of
//!   that direction ends: until then the CPU isn't done.
//! * **Direction.** Whoever writes is told to the kernel as reading too: a cache
//!   line that is written in part goes back whole.
//! * **Errors.** What an end meets is returned by [`Bracket::end`]; if the
//!   bracket was dropped instead, by a panic for example, by the next
//!   [`Bracketed::access`].
//! * **Buffers that go away.** An access that the exporter answers with SIGBUS
//!   meets zeros, and from then on ends and starts fail with
//!   [`Error::Gone`].
//! * **Memory that is taken away.** [`Bracketed::cut`] puts zeros in its place,
//!   under brackets that are open too: their accesses and ends fail with
//!   [`Error::Revoked`].
//! * **Poison.** [`Bracketed::poisoned`] takes the memory's permissions away
//!   between brackets, so that an address that was kept past its bracket is a
//!   SIGSEGV at the place of the bug.
//!
//! Mappings here are never split, so the exporters that map wrong pages after a
//! split have no occasion to.

mod bracket;
mod counts;

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use bracket::Bracket;
pub use counts::Counters;

use crate::caching::{Caching, KnowsCaching, Wanted};
use crate::dma_buf::{Direction, DmaBuf, DmaBufOps};
use crate::error::{Error, Result, check_bounds};
use crate::mapping::{Access, Guarded, Mapping, View};
use crate::storage::Line;
use crate::sys::uapi::SYNC_END;
use bracket::Held;
use counts::{Counts, Edges};

/// A dma-buf mapped whole, whose bytes are reached within brackets only. It
/// keeps the exporter's file open, whatever becomes of handles and descriptors
/// elsewhere.
#[derive(Debug)]
pub struct Bracketed {
    counts: Mutex<Counts>,
    /// Held while a start is told: nobody gets in before it has been.
    starting: Mutex<()>,
    // Field order: unmapped before it is off the ledger.
    memory: Guarded,
    /// For memory that has a ledger.
    line: Option<Line>,
    /// What is told of starts and ends; `None` for memory that no other device
    /// can have.
    buffer: Option<Arc<DmaBuf>>,
    caching: Option<Caching>,
    poisoned: bool,
}

impl Bracketed {
    /// Maps all of `buffer` as its exporter does.
    ///
    /// # Errors
    /// [`Error::Sys`] as the exporter answers: EINVAL or ENODEV if it has no
    /// mmap, EACCES for writing through a read-only descriptor.
    pub fn of(buffer: DmaBuf, access: Access) -> Result<Self> {
        let mapping = Mapping::new(&buffer.quietly(), 0, buffer.size()?, access)?;
        Self::new(mapping, Some(Arc::new(buffer)))
    }

    /// Memory that needs no brackets, because no device has it: a memfd's, a
    /// guest's pages. They are counted all the same.
    ///
    /// # Errors
    /// [`Error::Sys`] if SIGBUS can't be handled.
    pub fn plain(mapping: Mapping) -> Result<Self> {
        Self::new(mapping, None)
    }

    /// Maps all of `buffer`, if that gives what is wanted.
    ///
    /// # Errors
    /// [`Error::NotMappable`] (ENODEV) for an aperture and for a fixed mapping,
    /// which belong to devices; [`Error::OtherCaching`] if `knows` says that
    /// the exporter's mapping is cached otherwise; those of [`Bracketed::of`].
    pub fn forward(
        buffer: DmaBuf,
        wanted: Wanted,
        access: Access,
        knows: &impl KnowsCaching,
    ) -> Result<Self> {
        wanted.check_forwards()?;
        Self::of(buffer, access)?.known_by(wanted, knows)
    }

    /// A mapping that is whole, and what is told of its access.
    pub(crate) fn new(mapping: Mapping, buffer: Option<Arc<DmaBuf>>) -> Result<Self> {
        Ok(Self {
            counts: Mutex::default(),
            starting: Mutex::default(),
            memory: Guarded::new(mapping)?,
            line: None,
            buffer,
            caching: None,
            poisoned: false,
        })
    }

    /// The same for memory that has a ledger.
    pub(crate) fn counted_by(self, line: Line) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }

    /// The same with what is known of its caching, if it is as wanted.
    pub(crate) fn known_by(mut self, wanted: Wanted, knows: &impl KnowsCaching) -> Result<Self> {
        self.touch()?;
        if let Some(buffer) = &self.buffer {
            let address = self.memory.mapping().start().addr();
            self.caching = knows.caching_of(buffer.as_fd(), address);
        }
        wanted.check(self.caching)?;
        Ok(self)
    }

    /// Reads a byte of every page. Only then has each an entry in the page
    /// table, which alone tells the caching of exporters that set it page by
    /// page. What was read means nothing, so that no bracket is needed.
    fn touch(&self) -> Result<()> {
        let view = self.memory.view();
        let page = rustix::param::page_size();
        for at in (0..view.len()).step_by(page) {
            view.read_at::<u8>(at)?;
        }
        self.check_there()
    }

    /// The same in a mode for finding bugs: between brackets the memory can't
    /// be accessed at all, and within brackets that only read it can't be
    /// written. Costs two `mprotect` for each bracket.
    ///
    /// # Errors
    /// [`Error::Sys`]: EACCES where the kernel refuses it for device memory on
    /// processors with L1TF, to all but root.
    pub fn poisoned(mut self) -> Result<Self> {
        self.memory.protect(None)?;
        self.poisoned = true;
        Ok(self)
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.mapping().len()
    }

    /// Whether it has none; it always has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.mapping().is_empty()
    }

    /// What the CPU may do with it.
    #[must_use]
    pub fn mode(&self) -> Access {
        self.memory.mapping().access()
    }

    /// How it is cached, where that is known.
    #[must_use]
    pub fn caching(&self) -> Option<Caching> {
        self.caching
    }

    /// The dma-buf that is told of starts and ends, the exporter's: its fences
    /// and its name, but not its descriptor.
    #[must_use]
    pub fn buffer(&self) -> Option<&DmaBufOps> {
        self.buffer.as_deref().map(|buffer| &**buffer)
    }

    /// Whether the memory has gone away, so far as an access has met that.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.memory.lost()
    }

    /// Cuts this mapping off from the memory, for good: see [`Mapping::cut`]. A
    /// ledger counts it no longer, because it no longer reaches the memory.
    ///
    /// # Errors
    /// As for [`Mapping::cut`].
    pub fn cut(&self) -> Result<()> {
        self.memory.mapping().cut()?;
        if let Some(line) = &self.line {
            line.strike();
        }
        Ok(())
    }

    /// Whether it was cut off from the memory.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.memory.mapping().is_cut()
    }

    /// The bytes outside of any bracket, whatever devices do to them.
    pub(crate) fn unready(&self) -> View<'_> {
        self.memory.view()
    }

    /// Who began and who ended: what isn't balanced is a bug, or a bracket that
    /// is open now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counts().counters()
    }

    /// Begins access to `range` in `direction`: waits for the fences that
    /// forbid it, at most for `limit`, and makes devices' writes visible.
    ///
    /// A device that takes the buffer between the wait and the start still
    /// makes this wait for it: the kernel's own wait has no limit. So does
    /// another thread that is being made to wait so.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::ReadOnly`] and [`Error::OutOfBounds`] for
    /// what the mapping doesn't have; [`Error::Gone`] if the memory went away,
    /// [`Error::Revoked`] if it was taken away; [`Error::Sys`] as the exporter
    /// answers, or as it answered the end of a bracket that was dropped.
    pub fn access(
        &self,
        direction: Direction,
        range: Range<usize>,
        limit: Duration,
    ) -> Result<Bracket<'_>> {
        self.begin(direction, &range, Instant::now().checked_add(limit))?;
        Ok(Bracket::new(Held::Borrowed(self), direction, range))
    }

    /// The same with a bracket that keeps the mapping, and a point in time;
    /// without one, waits as long as it takes.
    ///
    /// # Errors
    /// As for [`Bracketed::access`].
    pub fn keep_access(
        self: &Arc<Self>,
        direction: Direction,
        range: Range<usize>,
        deadline: Option<Instant>,
    ) -> Result<Bracket<'static>> {
        self.begin(direction, &range, deadline)?;
        let this = Held::Kept(Arc::clone(self));
        Ok(Bracket::new(this, direction, range))
    }

    fn begin(
        &self,
        direction: Direction,
        range: &Range<usize>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let len = range.end.saturating_sub(range.start);
        check_bounds(range.start as u64, len as u64, self.len() as u64)?;
        if direction.writes() && self.mode() == Access::ReadOnly {
            return Err(Error::ReadOnly);
        }
        self.check_there()?;
        if let Some(buffer) = &self.buffer {
            buffer.wait_until_ready(direction.readiness(), deadline)?;
        }
        counts::begin(&self.counts, &self.starting, self, direction)
    }

    /// Begins reading all of it.
    ///
    /// # Errors
    /// As for [`Bracketed::access`].
    pub fn read(&self, limit: Duration) -> Result<Bracket<'_>> {
        self.access(Direction::Read, 0..self.len(), limit)
    }

    /// Begins reading and writing all of it.
    ///
    /// # Errors
    /// As for [`Bracketed::access`].
    pub fn write(&self, limit: Duration) -> Result<Bracket<'_>> {
        self.access(Direction::ReadWrite, 0..self.len(), limit)
    }

    fn end(&self, direction: Direction) -> Result<()> {
        self.counts().end(self, direction)?;
        self.check_there()
    }

    /// Ends a bracket that was dropped; the error waits for the next.
    fn end_later(&self, direction: Direction) {
        self.counts().end_dropped(self, direction);
    }

    fn check_there(&self) -> Result<()> {
        if self.is_cut() {
            return Err(Error::Revoked);
        }
        if self.is_gone() {
            return Err(Error::Gone);
        }
        Ok(())
    }

    // Counts change before and after calls that may panic nowhere.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edges for Bracketed {
    fn start(&self, direction: Direction) -> Result<()> {
        match &self.buffer {
            Some(buffer) => buffer.sync(direction.bits()),
            None => Ok(()),
        }
    }

    fn end(&self, direction: Direction) -> Result<()> {
        match &self.buffer {
            Some(buffer) => buffer.sync(direction.bits() | SYNC_END),
            None => Ok(()),
        }
    }

    fn allow(&self, access: Option<Access>) -> Result<()> {
        if self.poisoned {
            self.memory.protect(access)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
