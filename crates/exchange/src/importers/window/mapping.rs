//! One buffer in a guest's window.

use std::fmt;

use landbridge_dmabuf::Loan;

use crate::attachment::Attachment;
use crate::caching::Caching;
use crate::importers::window::book::Place;
use crate::importers::window::{MapperError, WindowError};

/// A buffer mapped in a guest's window. Dropping it unmaps it.
pub struct WindowMapping {
    /// `None` once it is unmapped.
    held: Option<Held>,
    attachment: Attachment,
}

/// What is held of a buffer while the guest reaches it.
pub(super) struct Held {
    // Field order: where it is left without a word, the loan is lost first.
    pub(super) loan: Loan,
    pub(super) place: Place,
}

impl Held {
    /// Nobody reaches the buffer through it any more.
    fn release(self, proof: landbridge_dmabuf::LetGo) {
        self.loan.returned(proof);
        self.place.free();
    }

    /// The VMM failed to map it.
    pub(super) fn not_mapped(self, error: MapperError) -> WindowError {
        match error {
            MapperError::HoldsNothing { why, let_go } => {
                self.release(let_go);
                WindowError::Mapper(*why)
            }
            MapperError::Refused(_) => {
                // It is not in the window, but who knows who has the file: the
                // loan is dropped without proof.
                self.place.free();
                WindowError::Mapper(error)
            }
            MapperError::Gone { .. } => WindowError::Mapper(error),
        }
    }

    /// Asks the VMM to unmap it. Where that fails without proof, the memory is
    /// never exclusive again and the place stays taken.
    pub(super) fn unmap(self) -> Result<(), WindowError> {
        let (offset, len) = (self.place.offset(), self.place.len());
        match self.place.window().mapper().unmap(offset, len) {
            Ok(let_go) => {
                self.release(let_go);
                Ok(())
            }
            Err(MapperError::HoldsNothing { why, let_go }) => {
                self.release(let_go);
                Err(WindowError::Mapper(*why))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl WindowMapping {
    pub(super) fn new(held: Held, attachment: Attachment) -> Self {
        Self {
            held: Some(held),
            attachment,
        }
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// How the guest must map it: exactly as the host does.
    pub fn caching(&self) -> Option<Caching> {
        self.attachment.terms().caching().map(|known| known.caching)
    }

    /// Unmaps the buffer; when this returns `Ok`, the guest can't reach it.
    pub fn unmap(mut self) -> Result<(), WindowError> {
        self.withdraw()
    }

    fn withdraw(&mut self) -> Result<(), WindowError> {
        match self.held.take() {
            Some(held) if held.place.unmapping() => held.unmap(),
            _ => Ok(()),
        }
    }
}

impl Drop for WindowMapping {
    fn drop(&mut self) {
        if let Err(error) = self.withdraw() {
            tracing::warn!(%error, "a window mapping could not be withdrawn");
        }
    }
}

impl fmt::Debug for WindowMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowMapping")
            .field(
                "offset",
                &self.held.as_ref().map(|held| held.place.offset()),
            )
            .field("buffer", self.attachment.buffer())
            .finish_non_exhaustive()
    }
}
