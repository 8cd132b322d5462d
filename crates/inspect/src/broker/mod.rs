//! Exact answers for programs without privileges.
//!
//! The broker holds CAP_BPF and CAP_PERFMON and nothing else. A client connects to its
//! socket (`AF_UNIX`, `SOCK_SEQPACKET`), sends one message and gets one back:
//!
//! * **question**: the bytes of [`REQUEST`], with exactly one descriptor (`SCM_RIGHTS`);
//! * **answer**: one JSON object, `{"answer": MapInfo}` or `{"refused": Refusal}`, after
//!   which the broker closes.
//!
//! Descriptors of strangers are dangerous to hold: a file system in user space can block
//! even a close. So the broker never receives one. For each client it makes a child
//! without capabilities that takes the message, checks that the descriptor is a dma-buf,
//! maps and touches it; the broker reads the child's page table and kills the child. A
//! child that hangs costs its user one place, no one else anything.

mod client;
mod confine;
mod server;

pub use client::ask;
pub use confine::{Confinement, confine};
pub use server::{Broker, Limits, listen};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Reason, errno_of};
use crate::map_info::MapInfo;

/// The text of a question: protocol and version.
pub const REQUEST: &[u8] = b"landbridge mapinfo 1\n";

/// No answer is longer.
const MAX_ANSWER_BYTES: usize = 4096;

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// How the buffer's mapping behaves.
    Answer(MapInfo),
    /// Why there is no answer.
    Refused(Refusal),
}

/// Why the broker gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Refusal {
    /// The message was not one [`REQUEST`] with one descriptor (client).
    #[error("the message was not one request with one descriptor")]
    BadRequest,
    /// The descriptor was no dma-buf (client).
    #[error("the descriptor is not a dma-buf")]
    NotDmaBuf,
    /// The exporter refused mmap.
    #[error("the exporter refuses mmap (error {errno})")]
    Mmap {
        /// The exporter's error number.
        errno: i32,
    },
    /// The exporter refused CPU access.
    #[error("the exporter refuses CPU access (error {errno})")]
    CpuAccess {
        /// The exporter's error number.
        errno: i32,
    },
    /// Touching the mapping raised a signal.
    #[error("touching the mapping raised signal {signal}")]
    Touch {
        /// The signal.
        signal: i32,
    },
    /// No message or no mapping in time.
    #[error("not finished in time")]
    TooSlow,
    /// This user has too many questions open; later there may be room.
    #[error("too many questions at once")]
    TooMany,
    /// Nobody can tell how this buffer is cached.
    #[error("{what}")]
    Unknown {
        /// What was tried, in words.
        what: String,
    },
    /// The broker could not tell.
    #[error("{what}")]
    Failed {
        /// In words.
        what: String,
    },
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NotDmaBuf => Self::NotDmaBuf,
            Error::Mmap(errno) => Self::Mmap {
                errno: errno.raw_os_error(),
            },
            Error::CpuAccess(errno) => Self::CpuAccess {
                errno: errno.raw_os_error(),
            },
            Error::Touch { signal } => Self::Touch { signal },
            Error::Timeout { .. } => Self::TooSlow,
            Error::Record { .. } => Self::BadRequest,
            Error::Unknown { .. } => Self::Unknown {
                what: error.to_string(),
            },
            other => Self::Failed {
                what: other.to_string(),
            },
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotDmaBuf => Self::NotDmaBuf,
            Refusal::Mmap { errno } => Self::Mmap(errno_of(errno)),
            Refusal::CpuAccess { errno } => Self::CpuAccess(errno_of(errno)),
            Refusal::Touch { signal } => Self::Touch { signal },
            other => Self::Broker(other),
        }
    }
}

/// Why a broker without BPF is refused: it could tell no more than its clients.
fn useless(reason: Reason) -> Error {
    Error::Unavailable {
        strength: crate::error::Strength::Vma,
        reason,
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod wire_tests {
    use super::*;
    use crate::decode::Caching;
    use crate::map_info::Source;

    #[test]
    fn answers_are_one_json_object() {
        let info = MapInfo::mapped(Caching::Uncached, Source::Pte, false);
        for answer in [
            Answer::Answer(info),
            Answer::Refused(Refusal::Mmap { errno: 22 }),
        ] {
            let text = serde_json::to_vec(&answer).unwrap();
            assert!(text.len() < MAX_ANSWER_BYTES);
            let again: Answer = serde_json::from_slice(&text).unwrap();
            assert_eq!(serde_json::to_vec(&again).unwrap(), text);
        }
        let nobody = Refusal::from(Error::Unknown {
            exporter: Some("drm".to_owned()),
            tried: Vec::new(),
        });
        let nobody = serde_json::to_string(&nobody).unwrap();
        assert!(nobody.starts_with(r#"{"why":"unknown","what":"the caching of drm"#));
        let refused = serde_json::to_string(&Answer::Refused(Refusal::TooMany)).unwrap();
        assert_eq!(refused, r#"{"refused":{"why":"too-many"}}"#);
    }

    #[test]
    fn the_exporters_errors_come_through() {
        let error = Error::from(Refusal::from(Error::Mmap(rustix::io::Errno::INVAL)));
        assert!(matches!(error, Error::Mmap(rustix::io::Errno::INVAL)));
        let senseless = Error::from(Refusal::Mmap { errno: -7 });
        assert!(matches!(senseless, Error::Mmap(rustix::io::Errno::IO)));
    }
}
