//! Memory in another party's hands.
#![expect(
    unsafe_code,
    reason = "LetGo is a promise that only unsafe code can make"
)]

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

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
            proven: false,
        }
    }

    /// How many bytes are lent.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.storage.size
    }

    /// Takes the loan off the ledger.
    pub fn returned(mut self, _proof: LetGo) {
        self.proven = true;
    }
}

impl AsFd for Loan {
    fn as_fd(&self) -> BorrowedFd<'_> {
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
