//! How the CPU caches a mapping, and what a caller wants of it.

use std::fmt;
use std::os::fd::BorrowedFd;

use crate::error::{Error, Result};

/// The caching of a CPU mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caching {
    /// Write-back: ordinary cached memory (x86 WB, arm64 Normal WB).
    WriteBack,
    /// Write-combining (x86 WC, arm64 Normal non-cacheable).
    WriteCombining,
    /// Uncached (x86 UC and UC-, arm64 Device).
    Uncached,
}

impl fmt::Display for Caching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteBack => "write-back",
            Self::WriteCombining => "write-combining",
            Self::Uncached => "uncached",
        })
    }
}

/// What kind of mapping a caller wants: the kinds that drivers' own mmap
/// interfaces offer, such as `I915_MMAP_OFFSET_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// As the exporter maps it.
    Any,
    /// With this caching.
    Exactly(Caching),
    /// Through the device's aperture, detiled on the way. Only the device
    /// itself has one.
    Aperture,
    /// Whatever the device has fixed for this object. Only its own driver
    /// knows.
    Fixed,
}

/// Who knows how a mapping is cached: page tables, a broker, the operator.
pub trait KnowsCaching {
    /// The caching of the mapping of `buffer` at `address` of this process, of
    /// which every page has been touched; `None` where that isn't known. It is
    /// never guessed.
    fn caching_of(&self, buffer: BorrowedFd<'_>, address: usize) -> Option<Caching>;
}

/// Whoever has asked already, or knows that nobody can tell.
impl KnowsCaching for Option<Caching> {
    fn caching_of(&self, _: BorrowedFd<'_>, _: usize) -> Option<Caching> {
        *self
    }
}

impl Wanted {
    /// Whether an exporter's mapping can be this kind at all.
    pub(crate) fn check_forwards(self) -> Result<()> {
        let what = match self {
            Self::Any | Self::Exactly(_) => return Ok(()),
            Self::Aperture => "an imported buffer, through the importer's aperture,",
            Self::Fixed => "an imported buffer, as the importer has fixed it,",
        };
        Err(Error::NotMappable { what })
    }

    /// Whether a mapping with this caching will do. One that nobody knows has
    /// to.
    pub(crate) fn check(self, found: Option<Caching>) -> Result<()> {
        match (self, found) {
            (Self::Exactly(wanted), Some(found)) if wanted != found => {
                Err(Error::OtherCaching { wanted, found })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Caching; 3] = [
        Caching::WriteBack,
        Caching::WriteCombining,
        Caching::Uncached,
    ];

    #[test]
    fn every_caching_forwards_and_apertures_do_not() {
        for caching in ALL {
            Wanted::Exactly(caching).check_forwards().unwrap();
        }
        Wanted::Any.check_forwards().unwrap();
        for refused in [Wanted::Aperture, Wanted::Fixed] {
            let errno = refused.check_forwards().unwrap_err().errno();
            assert_eq!(errno, Some(libc::ENODEV));
        }
    }

    #[test]
    fn only_the_caching_that_is_known_to_be_another_is_refused() {
        for wanted in ALL {
            for found in ALL {
                let checked = Wanted::Exactly(wanted).check(Some(found));
                assert_eq!(checked.is_ok(), wanted == found);
            }
            Wanted::Exactly(wanted).check(None).unwrap();
            Wanted::Any.check(Some(wanted)).unwrap();
        }
    }
}
