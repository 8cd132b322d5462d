//! CPU access to a mapped buffer: fenced, bracketed, and not to be forgotten.

use std::time::Duration;

use landbridge_dmabuf::{CpuAccess as Bracket, View};

use crate::attachment::Attachment;
use crate::error::Error;
use crate::exporter::Memory;
use crate::fence::{self, Fence, FenceSignaller, Outcome};
use crate::reservation::wait_all_until;
use crate::terms::Direction;

/// CPU access to a mapped buffer. Others' work that conflicts waits until it
/// ends; it ends with [`end`](CpuAccess::end), or when it is dropped.
#[derive(Debug)]
#[must_use = "the access ends when this is dropped"]
pub struct CpuAccess<'a> {
    memory: &'a Memory,
    direction: Direction,
    /// `None` once it has ended.
    bracket: Option<Bracket<'a>>,
    signaller: Option<FenceSignaller>,
}

impl<'a> CpuAccess<'a> {
    /// Waits for conflicting work, at most for `limit`, and opens the bracket.
    pub(crate) fn begin(
        attachment: &'a Attachment,
        memory: &'a Memory,
        direction: Direction,
        limit: Duration,
    ) -> Result<Self, Error> {
        attachment.check_direction(direction)?;
        let deadline = fence::deadline(limit);
        let (fence, signaller) = Fence::new(format!("{} ({direction})", attachment.importer()));
        let before = attachment.buffer().reservation().add(fence, direction);
        wait_all_until(&before, deadline, limit)?;
        let bracket = Some(attachment.begin_access(direction, deadline)?);
        Ok(Self {
            memory,
            direction,
            bracket,
            signaller: Some(signaller),
        })
    }

    /// The bytes: read-only where the access is for reading.
    pub fn view(&self) -> View<'_> {
        let view = self.memory.view();
        if self.direction.writes() {
            view
        } else {
            view.read_only()
        }
    }

    /// Ends the access: the bytes are where others see them. If that fails,
    /// so does the fence.
    pub fn end(mut self) -> Result<(), Error> {
        self.finish(Outcome::Done)
    }

    /// Closes the bracket first and tells others afterwards.
    fn finish(&mut self, outcome: Outcome) -> Result<(), Error> {
        let Some(signaller) = self.signaller.take() else {
            return Ok(());
        };
        let closed = self.bracket.take().map_or(Ok(()), Bracket::end);
        signaller.signal(if closed.is_ok() {
            outcome
        } else {
            Outcome::Failed
        });
        Ok(closed?)
    }
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        // A writer that panics leaves half of what it meant to write.
        let outcome = if std::thread::panicking() && self.direction.writes() {
            Outcome::Failed
        } else {
            Outcome::Done
        };
        if let Err(error) = self.finish(outcome) {
            tracing::warn!(%error, "a CPU access could not be ended");
        }
    }
}
