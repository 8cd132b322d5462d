//! The owner of a buffer's memory.

use std::os::fd::BorrowedFd;

use landbridge_dmabuf::{Access, Bracketed, Identity, Storage};

use crate::error::Error;
use crate::exporters::host_memory::Placement;
use crate::ranges::{GuestPhysical, RangeList};
use crate::terms::Offer;

/// The owner of one buffer's memory.
///
/// # Implementers
/// What [`offer`](Exporter::offer) and [`size`](Exporter::size) say never
/// changes. A method that gives access works whenever the offer says so: `map`
/// with `cpu`, `storage` with `descriptor` or `exclusive`, `ranges` with
/// `ranges`, `private` with `private`. The memory lives as long as the exporter; what backs it changes in
/// [`relocate`](Exporter::relocate) and [`restore`](Exporter::restore) only, so
/// whoever asks twice may get another mapping or another storage.
///
/// An exporter whose offer says so can lose its memory and move it. The exchange
/// sees to the importers; what is left to do is in `revoke`, `restore` and
/// `relocate`, which are called one at a time and with no lock held. An exporter
/// that learns of a revocation elsewhere (a device that is reset) calls
/// [`Buffer::revoke`](crate::Buffer::revoke) and, when it never comes back,
/// [`Buffer::lose`](crate::Buffer::lose).
///
/// # Callers
/// Only the exchange calls these; importers get what their terms allow.
pub trait Exporter: Send + Sync {
    /// What kind of exporter it is: "memfd", "udmabuf", "guest pages".
    fn name(&self) -> &'static str;

    /// Whose memory it is, where the exporter's kind does not tell: the kernel's
    /// name for a dma-buf's exporter, or a memfd's name. Somebody else chose it.
    fn origin(&self) -> Option<&str> {
        None
    }

    /// The NUMA node that its memory comes from, where it comes from no other.
    fn node(&self) -> Option<u32> {
        None
    }

    /// What people should know about it: why it is not what it could be.
    fn note(&self) -> Option<&str> {
        None
    }

    /// The buffer's size in bytes: not 0.
    fn size(&self) -> u64;

    /// What it offers.
    fn offer(&self) -> Offer;

    /// The identity of the file behind the memory, where there is one file.
    fn identity(&self) -> Option<Identity>;

    /// Maps the whole memory for the CPU of this process: just the buffer's bytes,
    /// which are reached within brackets.
    fn map(&self, access: Access) -> Result<Bracketed, Error>;

    /// The memory with its ledger, where a descriptor can be lent: what backs
    /// the buffer now.
    fn storage(&self) -> Option<Storage>;

    /// The memory as guest-physical ranges, where the guest brought it.
    fn ranges(&self) -> Option<&RangeList<GuestPhysical>>;

    /// The same memory as another exporter's, emptied, for a buffer that is to
    /// be like new. `None` where that can't be: where the memory can't be
    /// emptied, or anybody reaches it but one who has borrowed its descriptor.
    ///
    /// # Errors
    /// Where emptying it fails.
    fn renew(&self) -> Result<Option<Box<dyn Exporter>>, Error> {
        Ok(None)
    }

    /// The memory by a descriptor that no CPU of the host can map, where it is
    /// private.
    fn private(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// All importers are cut off, except for those that `held` names, who could
    /// not be: takes the memory away, from them too if that can be done.
    ///
    /// # Errors
    /// [`Error::StillHeld`] where somebody may still reach it.
    fn revoke(&self, held: &[String]) -> Result<(), Error> {
        if held.is_empty() {
            return Ok(());
        }
        Err(Error::StillHeld {
            exporter: self.name(),
            by: held.to_vec(),
        })
    }

    /// Brings the memory back, with the bytes that it had if nobody wrote it
    /// when it was taken away.
    ///
    /// # Errors
    /// Where it can't; it stays revoked and may be asked again.
    fn restore(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Moves the memory: afterwards all bytes are the same and lie in memory of
    /// the other kind, or of the other NUMA node. Nobody reaches the memory meanwhile. Gives up soon after
    /// `hurried` says that a revocation waits.
    ///
    /// # Errors
    /// Where it can't; the memory is then where it was.
    fn relocate(&self, to: Placement, hurried: &dyn Fn() -> bool) -> Result<(), Error> {
        let _ = hurried;
        Err(Error::Export {
            exporter: self.name(),
            reason: format!("its memory can't become a {to}"),
        })
    }
}
