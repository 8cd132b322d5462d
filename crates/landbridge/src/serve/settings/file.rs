//! The configuration file: TOML, with the keys of the command line.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::caching::{CachingFrom, CachingName};
use super::size::{MetricsAddress, OutputSize, Size};
use super::{GpuMode, HostMemory};

/// What can be said of each GPU, and of all.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct GpuKeys {
    pub(super) socket: Option<PathBuf>,
    pub(super) guest: Option<String>,
    pub(super) outputs: Option<Vec<OutputSize>>,
    pub(super) gpu_mode: Option<GpuMode>,
    pub(super) window: Option<Size>,
    pub(super) host_memory: Option<HostMemory>,
    pub(super) host_node: Option<u32>,
    pub(super) idle_maps: Option<usize>,
}

/// A GPU in the file: its socket alone, or a table of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GpuEntry(pub(super) GpuKeys);

/// The most that each guest may hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct LimitKeys {
    pub(super) memory: Option<Size>,
    pub(super) pinned_memory: Option<Size>,
    pub(super) mappings: Option<u64>,
    pub(super) buffers: Option<u64>,
    pub(super) attachments: Option<u64>,
    pub(super) window_maps: Option<u64>,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileKeys {
    pub(super) gpu: Option<Vec<GpuEntry>>,
    pub(super) control: Option<PathBuf>,
    pub(super) metrics: Option<MetricsAddress>,
    pub(super) outputs: Option<Vec<OutputSize>>,
    pub(super) gpu_mode: Option<GpuMode>,
    pub(super) window: Option<Size>,
    pub(super) host_memory: Option<HostMemory>,
    pub(super) host_node: Option<u32>,
    pub(super) idle_maps: Option<usize>,
    pub(super) caching_from: Option<CachingFrom>,
    pub(super) unknown_caching: Option<CachingName>,
    #[serde(default)]
    pub(super) limits: LimitKeys,
}

impl FileKeys {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("can't read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))
    }
}

impl<'de> Deserialize<'de> for GpuEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GpuEntryVisitor)
    }
}

struct GpuEntryVisitor;

impl<'de> Visitor<'de> for GpuEntryVisitor {
    type Value = GpuEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a socket's path or a table")
    }

    fn visit_str<E>(self, socket: &str) -> Result<GpuEntry, E> {
        Ok(GpuEntry(GpuKeys {
            socket: Some(socket.into()),
            ..GpuKeys::default()
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GpuEntry, A::Error> {
        GpuKeys::deserialize(MapAccessDeserializer::new(map)).map(GpuEntry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_a_path_or_a_table() {
        let short: FileKeys = toml::from_str(r#"gpu = ["a.sock"]"#).unwrap();
        let long: FileKeys = toml::from_str("[[gpu]]\nsocket = 'a.sock'").unwrap();
        assert_eq!(short, long);
    }

    #[test]
    fn unknown_keys_are_errors_at_every_level() {
        for text in [
            "colour = 1",
            "[[gpu]]\nsocket = 'a'\ncolour = 1",
            "[limits]\ncolour = 1",
        ] {
            let error = toml::from_str::<FileKeys>(text).unwrap_err();
            assert!(error.to_string().contains("colour"), "{error}");
        }
    }

    #[test]
    fn values_are_checked_as_on_the_command_line() {
        for text in [
            "window = '3 apples'",
            "window = 3",
            "outputs = ['0x0']",
            "gpu-mode = 'fast'",
            "metrics = 'here'",
            "gpu = [7]",
            "caching-from = 'hearsay'",
            "unknown-caching = 'unknown'",
        ] {
            assert!(toml::from_str::<FileKeys>(text).is_err(), "{text}");
        }
    }
}
