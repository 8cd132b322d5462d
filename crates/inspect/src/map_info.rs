//! The answer: how a buffer's mapping behaves, and how that is known.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::decode::Caching;

/// How it is known, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The kernel was asked and said so.
    KernelIoctl,
    /// Read from the page table: exact at the time.
    Pte,
    /// Read from the mapping's `vm_page_prot`. Exporters that may set the caching page
    /// by page (TTM) get no such answer.
    Vma,
    /// Written down about the exporter: an estimate.
    Rule,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KernelIoctl => "ioctl",
            Self::Pte => "pte",
            Self::Vma => "vma",
            Self::Rule => "rule",
        })
    }
}

/// How a buffer's CPU mapping behaves.
///
/// # Invariants
/// `caching` is `None` exactly where `mappable` is false. A buffer that can be mapped
/// but whose caching nobody knows has no `MapInfo`: it is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapInfo {
    /// The caching of the mapping.
    pub caching: Option<Caching>,
    /// How it is known.
    pub source: Source,
    /// Whether get_user_pages works on the mapping (O_DIRECT, vmsplice, process_vm_readv).
    /// False where it does not or where that is not known.
    pub gup: bool,
    /// Whether the buffer can be mapped by the CPU at all.
    pub mappable: bool,
    /// When it was so. Buffers of TTM exporters may change when they move.
    #[serde(with = "at_nanoseconds")]
    pub at: SystemTime,
}

impl MapInfo {
    pub(crate) fn mapped(caching: Caching, source: Source, gup: bool) -> Self {
        Self {
            caching: Some(caching),
            source,
            gup,
            mappable: true,
            at: SystemTime::now(),
        }
    }

    pub(crate) fn not_mappable(source: Source) -> Self {
        Self {
            caching: None,
            source,
            gup: false,
            mappable: false,
            at: SystemTime::now(),
        }
    }

    /// Whether the answer is exact rather than an estimate.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.source != Source::Rule
    }

    /// Whether the invariant holds; for answers that came over a socket.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.caching.is_some() == self.mappable && (self.mappable || !self.gup)
    }
}

/// A time as nanoseconds since 1970.
mod at_nanoseconds {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = since.unwrap_or_default().as_nanos();
        to.serialize_u64(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let nanoseconds = u64::deserialize(from)?;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_stable_keys() {
        let info = MapInfo {
            at: SystemTime::UNIX_EPOCH,
            ..MapInfo::mapped(Caching::WriteCombining, Source::Pte, false)
        };
        let text = serde_json::to_string(&info).unwrap();
        assert_eq!(
            text,
            r#"{"caching":"write-combining","source":"pte","gup":false,"mappable":true,"at":0}"#
        );
        assert_eq!(serde_json::from_str::<MapInfo>(&text).unwrap(), info);
    }

    #[test]
    fn inconsistent_answers_are_noticed() {
        let mapped = MapInfo::mapped(Caching::WriteBack, Source::Vma, true);
        assert!(mapped.is_consistent() && mapped.is_exact());
        let lost = MapInfo {
            caching: None,
            ..mapped
        };
        assert!(!lost.is_consistent());
        assert!(MapInfo::not_mappable(Source::Rule).is_consistent());
    }
}
