//! CPU access to a mapped buffer: fenced, bracketed, and not to be forgotten.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use landbridge_dmabuf::{Bracket, Bracketed, View};

use crate::attachment::Attachment;
use crate::error::Error;
use crate::fence::{self, Fence, FenceSignaller, Outcome};
use crate::importers::cpu::CpuHold;
use crate::reservation::wait_all_until;
use crate::terms::Direction;

/// CPU access to bytes of a mapped buffer. Others' work that conflicts waits
/// until it ends; it ends with [`end`](CpuAccess::end), or when it is dropped.
#[derive(Debug)]
#[must_use = "the access ends when this is dropped"]
pub struct CpuAccess<'a> {
    attachment: &'a Attachment,
    memory: Arc<Bracketed>,
    bracket: Bracket<'static>,
    /// `None` once it has ended.
    signaller: Option<FenceSignaller>,
}

impl<'a> CpuAccess<'a> {
    /// Waits for conflicting work, at most for `limit`, and opens the bracket over
    /// `range`, or over all bytes.
    pub(crate) fn begin(
        attachment: &'a Attachment,
        hold: &CpuHold,
        direction: Direction,
        range: Option<Range<usize>>,
        limit: Duration,
    ) -> Result<Self, Error> {
        attachment.check_direction(direction)?;
        let deadline = fence::deadline(limit);
        let (fence, signaller) = Fence::new(format!("{} ({direction})", attachment.importer()));
        let buffer = attachment.buffer();
        let not_there = || buffer.not_there();
        let entered = buffer.reservation().enter(fence, direction);
        let (before, cuts) = entered.map_err(|_| not_there())?;
        wait_all_until(&before, deadline, limit)?;
        // From here on a revocation finds the mapping, and cuts it under us if it
        // does not want to wait for our fence.
        let memory = hold.memory().ok_or_else(not_there)?;
        let range = range.unwrap_or(0..memory.len());
        let bracket = match memory.keep_access(direction.into(), range, deadline) {
            Err(_) if memory.is_cut() => return Err(not_there()),
            bracket => bracket?,
        };
        if buffer.reservation().cuts() != cuts {
            return Err(not_there());
        }
        Ok(Self {
            attachment,
            memory,
            bracket,
            signaller: Some(signaller),
        })
    }

    /// The bytes: read-only where the access is for reading. An error of theirs
    /// says that the memory was taken away meanwhile.
    pub fn view(&self) -> View<'_> {
        self.bracket.view()
    }

    /// Ends the access: the bytes are where others see them. If that fails,
    /// so does the fence: [`Error::Revoked`] when the memory was taken away before
    /// the access ended.
    pub fn end(mut self) -> Result<(), Error> {
        self.finish(Outcome::Done)
    }

    /// Closes the bracket first and tells others afterwards.
    fn finish(&mut self, outcome: Outcome) -> Result<(), Error> {
        let Some(signaller) = self.signaller.take() else {
            return Ok(());
        };
        let ended = match self.bracket.close() {
            _ if self.memory.is_cut() => Err(self.attachment.buffer().not_there()),
            closed => closed.map_err(Error::from),
        };
        signaller.signal(if ended.is_ok() {
            outcome
        } else {
            Outcome::Failed
        });
        ended
    }
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        // A writer that panics leaves half of what it meant to write.
        let outcome = if std::thread::panicking() && self.bracket.direction().writes() {
            Outcome::Failed
        } else {
            Outcome::Done
        };
        if let Err(error) = self.finish(outcome) {
            tracing::warn!(%error, "a CPU access could not be ended");
        }
    }
}
