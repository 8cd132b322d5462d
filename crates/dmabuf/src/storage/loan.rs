//! Memory in another party's hands.
#![expect(
    unsafe_code,
    reason = "LetGo is a promise that only unsafe code can make"
)]

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::mapping::{Access, Mapping, Piece};
use crate::storage::Inner;

/// The descriptor of a buffer's memory, lent to another party.
///
/// Give it back with [`Loan::returned`] once the other party has let go.
/// Dropping it instead leaves the memory shared for ever: nobody can then know
/// who still has a duplicate or a mapping.
#[derive(Debug)]
#[must_use = "a loan that is dropped without proof leaves the memory shared for ever"]
pub struct Loan {
    storage: Arc<Inner>,
    /// Whether its descriptor was ever borrowed.
    seen: AtomicBool,
    proven: bool,
}

/// Proof that the other party of one loan has let go.
#[derive(Debug)]
pub struct LetGo {
    _made_by_assert: (),
}

impl LetGo {
    /// Asserts that a loan is over.
    ///
    /// # Safety
    /// Of the loan that this proof is handed to: every duplicate of its
    /// descriptor, in every process and in flight on every socket, is closed;
    /// every mapping made from them, the kernel's for a guest or a device
    /// included, is gone; and so is everything else made from them that reaches
    /// the memory, such as a udmabuf or an attachment. Otherwise somebody may
    /// write while Rust holds `&mut [u8]`, which is undefined behaviour.
    #[must_use]
    pub unsafe fn assert() -> Self {
        Self {
            _made_by_assert: (),
        }
    }
}

impl Loan {
    /// A loan that is already on the ledger.
    pub(super) fn new(storage: Arc<Inner>) -> Self {
        Self {
            storage,
            seen: AtomicBool::new(false),
            proven: false,
        }
    }

    /// How many bytes are lent.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.storage.size
    }

    /// A mapping through which the kernel can pin the pages, for uses within this
    /// crate that end before the loan does.
    pub(crate) fn map_pages(&self, access: Access) -> Result<Mapping> {
        let fd = self.storage.pages().ok_or(Error::NotPinnable)?;
        Mapping::of(&Piece::new(&fd, 0, self.size()), access)
    }

    /// Takes the loan off the ledger.
    pub fn returned(mut self, _proof: LetGo) {
        self.proven = true;
    }

    /// Takes the loan off the ledger if its descriptor was never borrowed, which
    /// is proof enough. Otherwise it is dropped.
    pub fn unused(mut self) {
        self.proven = !*self.seen.get_mut();
    }
}

impl AsFd for Loan {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.seen.store(true, Ordering::Relaxed);
        self.storage.descriptor()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.proven {
            self.storage.ledger.return_loan();
        } else {
            self.storage.ledger.lose_loan();
        }
    }
}
