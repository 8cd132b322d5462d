//! What an importer owes while its memory may move or go.

use std::fmt;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// What is about to happen to the memory, or has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice {
    /// It is about to be taken away: let go by the deadline.
    Revoke,
    /// It is about to move: hold still, and map again when told to.
    Move,
    /// It is back, or in its new place.
    Back,
}

/// An importer's end of a promise: what is called when memory that it holds
/// moves or goes. An importer that takes anything but pinned memory has one.
///
/// # Implementers
/// - [`told`](Self::told) runs under the buffer's reservation lock. It must not
///   block and must not call the buffer, or anything that does.
/// - The rest run with no lock held, one at a time for one holder, and may come
///   while the importer detaches, so they must stand being called late.
/// - After [`cut_off`](Self::cut_off) returned `Ok`, the importer can't reach
///   the memory, whatever it was doing, and does not crash on that.
/// - Access that is fenced (a [`CpuAccess`](crate::importers::CpuAccess), a job
///   with a fence in the reservation) is waited for before; only access that
///   no fence orders, such as a guest's, must be stopped by
///   [`hold_still`](Self::hold_still).
pub trait Holder: Send + Sync {
    /// Something is about to happen.
    fn told(&self, notice: Notice) {
        let _ = notice;
    }

    /// The memory is about to be copied to its new place: from now on until
    /// [`follow`](Self::follow), the importer changes no byte. An error cancels
    /// the move.
    fn hold_still(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Lets go of the memory, or is cut off from it.
    fn cut_off(&self) -> Result<(), Error>;

    /// The memory is there (again): in its new place, in its old one after a
    /// move that failed, or restored. The importer maps it again. After an
    /// error it is cut off.
    fn follow(&self, buffer: &Buffer) -> Result<(), Error>;

    /// Whether [`cut_off`](Self::cut_off) asks somebody who may never answer, a
    /// VMM say. It is then left behind when time runs out.
    fn asks_others(&self) -> bool {
        false
    }

    /// Puts something harmless where the memory was, if somebody still looks
    /// there. Called after [`cut_off`](Self::cut_off) and
    /// [`follow`](Self::follow) of a holder that
    /// [`asks_others`](Self::asks_others); nobody waits for it, so the memory may
    /// be back, or the importer gone, by the time.
    fn fill(&self) {}
}

/// A holder for importers whose every access is fenced and done when the fence
/// is: it has nothing to let go of.
#[derive(Debug, Default)]
pub struct BetweenFences;

impl Holder for BetweenFences {
    fn cut_off(&self) -> Result<(), Error> {
        Ok(())
    }

    fn follow(&self, _: &Buffer) -> Result<(), Error> {
        Ok(())
    }
}

/// A holder that counts what it is told: a test aid.
#[derive(Default)]
pub struct FakeHolder {
    /// How often it was told of a revocation.
    pub revokes: AtomicUsize,
    /// How often it was told of a move.
    pub moves: AtomicUsize,
    /// How often it was cut off.
    pub cuts: AtomicUsize,
    /// How often it was to map again.
    pub follows: AtomicUsize,
}

impl Holder for FakeHolder {
    fn told(&self, notice: Notice) {
        match notice {
            Notice::Revoke => self.revokes.fetch_add(1, Ordering::SeqCst),
            Notice::Move => self.moves.fetch_add(1, Ordering::SeqCst),
            Notice::Back => 0,
        };
    }

    fn cut_off(&self) -> Result<(), Error> {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn follow(&self, _: &Buffer) -> Result<(), Error> {
        self.follows.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl fmt::Debug for FakeHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHolder").finish_non_exhaustive()
    }
}
