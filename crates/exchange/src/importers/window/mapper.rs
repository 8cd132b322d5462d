//! The VMM, seen from a window.

use std::os::fd::BorrowedFd;

use landbridge_dmabuf::LetGo;

/// What a VMM is asked to map.
#[derive(Debug)]
pub struct WindowMap<'a> {
    /// The file; the VMM gets a duplicate. It is mapped from its beginning.
    pub file: BorrowedFd<'a>,
    /// Where in the window.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// What is known of a file once the VMM has unmapped it.
#[derive(Debug)]
pub enum Unmapped {
    /// Nobody has anything of it any more.
    Proven(LetGo),
    /// The guest can't reach it through the window, but somebody else may still:
    /// the VMM announces windows to its other devices and could not withdraw
    /// this one, or one of them is using it. It is never exclusive again.
    Unproven,
}

/// Why the VMM did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum MapperError {
    /// The VMM said no. Whether it kept the file is not known.
    #[error("the VMM refused to {0}")]
    Refused(&'static str),
    /// There is nobody to ask: no VMM is connected, or the request channel
    /// broke. Whether the VMM did it before is not known.
    #[error("the VMM can't be reached to {call}: {reason}")]
    Gone {
        /// What it was to be asked.
        call: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// It failed, and the VMM surely holds nothing of the file: it never got
    /// it, or let go of it. The window passes on `why`.
    #[error("{why}")]
    HoldsNothing {
        /// What went wrong.
        why: Box<MapperError>,
        /// The proof.
        let_go: LetGo,
    },
}

impl MapperError {
    /// The same failure, with proof that the VMM holds nothing of the file.
    /// The window gives the loan back with it, so that the memory can be
    /// exclusive again.
    #[must_use]
    pub fn holding_nothing(self, let_go: LetGo) -> Self {
        Self::HoldsNothing {
            why: Box::new(self),
            let_go,
        }
    }
}

/// Maps into a guest: a VMM, seen from the window.
///
/// # Implementers
/// Both calls return when the VMM has acknowledged, and after `unmap` returned
/// `Ok` the guest and the VMM can't reach the memory through the window; that
/// nobody can is what the [`LetGo`] states. A call that fails says by
/// [`holding_nothing`](MapperError::holding_nothing) that the VMM surely holds
/// nothing; without it, a failed `map` or `unmap` leaves the memory shared for
/// ever. After a failed `map` that was not [`Refused`](MapperError::Refused),
/// and after any failed `unmap`, the window counts the place as taken until it
/// is reset.
///
/// # Callers
/// Hold no lock that a transport may want while these run.
pub trait WindowMapper: Send + Sync {
    /// Maps a file into the window.
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError>;

    /// Unmaps exactly what one `map` mapped.
    fn unmap(&self, offset: u64, len: u64) -> Result<Unmapped, MapperError>;
}
