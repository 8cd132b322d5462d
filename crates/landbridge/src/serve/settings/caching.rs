//! How the program is to find out how buffers are cached.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use landbridge_exchange::Caching;
use serde::{Deserialize, Serialize};

use super::size::Text;

/// A caching as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CachingName {
    /// Ordinary cached memory.
    WriteBack,
    /// Writes are gathered, reads are not cached.
    WriteCombining,
    /// Nothing is cached.
    Uncached,
}

impl From<CachingName> for Caching {
    fn from(name: CachingName) -> Self {
        match name {
            CachingName::WriteBack => Self::WriteBack,
            CachingName::WriteCombining => Self::WriteCombining,
            CachingName::Uncached => Self::Uncached,
        }
    }
}

/// Who is asked how a buffer is cached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Text")]
pub enum CachingFrom {
    /// The kernel, as far as this process may look; else what is written down.
    #[default]
    Kernel,
    /// The broker that listens here; else what is written down.
    Broker(PathBuf),
    /// Only what is written down.
    Rules,
}

impl FromStr for CachingFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("broker:")) {
            ("kernel", _) => Ok(Self::Kernel),
            ("rules", _) => Ok(Self::Rules),
            (_, Some(path)) if !path.is_empty() => Ok(Self::Broker(path.into())),
            _ => Err(format!(
                "{text:?} knows nothing: write kernel, rules or broker:SOCK"
            )),
        }
    }
}

impl fmt::Display for CachingFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel"),
            Self::Broker(path) => write!(f, "broker:{}", path.display()),
            Self::Rules => f.write_str("rules"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_is_written_as_it_is_read() {
        for text in ["kernel", "rules", "broker:/run/it.sock"] {
            let from: CachingFrom = text.parse().unwrap();
            assert_eq!(from.to_string(), text);
        }
        for text in ["", "broker", "broker:", "me"] {
            assert!(text.parse::<CachingFrom>().is_err(), "{text}");
        }
    }
}
