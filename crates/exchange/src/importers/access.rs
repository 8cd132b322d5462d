//! CPU access to a mapped buffer: fenced, bracketed, and not to be forgotten.

use std::time::Duration;

use landbridge_dmabuf::{CpuAccess as Bracket, View};

use crate::attachment::Attachment;
use crate::error::Error;
use crate::exporter::Memory;
use crate::fence::{Fence, FenceSignaller, Outcome};
use crate::reservation::wait_all;
use crate::terms::Direction;

/// CPU access to a mapped buffer. Others' work that conflicts waits until it
/// ends; it ends with [`end`](CpuAccess::end), or when it is dropped.
#[derive(Debug)]
pub struct CpuAccess<'a> {
    memory: &'a Memory,
    // Field order: the bracket ends before others are told that we are done.
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
        let (fence, signaller) = Fence::new(format!("{} ({direction})", attachment.importer()));
        let before = attachment.buffer().reservation().add(fence, direction);
        wait_all(&before, limit)?;
        let bracket = Some(attachment.begin_access(direction)?);
        Ok(Self {
            memory,
            bracket,
            signaller: Some(signaller),
        })
    }

    /// The bytes.
    pub fn view(&self) -> View<'_> {
        self.memory.view()
    }

    /// Ends the access: the bytes are where others see them.
    pub fn end(mut self) -> Result<(), Error> {
        if let Some(bracket) = self.bracket.take() {
            bracket.end()?;
        }
        if let Some(signaller) = self.signaller.take() {
            signaller.signal(Outcome::Done);
        }
        Ok(())
    }
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        // What `end` would have reported is lost here; the bracket closes all
        // the same, and then those who wait go on.
        self.bracket = None;
        if let Some(signaller) = self.signaller.take() {
            signaller.signal(Outcome::Done);
        }
    }
}
