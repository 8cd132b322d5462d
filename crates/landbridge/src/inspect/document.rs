//! The report as JSON. docs/tools.md tells the keys; they don't change within a major
//! version, and new ones may be added.

use std::time::{SystemTime, UNIX_EPOCH};

use landbridge_inspect::report::{self, Fences, ListSource, Report};
use landbridge_inspect::{Availability, Caching, Importers, Inspector, Reason, Source, Strength};
use serde::Serialize;

/// What `landbridge inspect --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    /// Nanoseconds since 1970.
    pub at: u64,
    /// Where the list of buffers came from: `kernel`, `bufinfo`, `processes`.
    pub list: ListSource,
    /// Buffers.
    pub buffers: Vec<Buffer>,
    /// Ways of knowing that are not available here.
    pub missing: Vec<Missing>,
    /// Processes that could not be looked into.
    pub unreadable_processes: usize,
}

/// A way of knowing that is not available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Which one.
    pub way: Strength,
    /// Why, for programs.
    #[serde(flatten)]
    pub reason: Reason,
    /// Why, in words.
    pub text: String,
}

/// One dma-buf.
#[derive(Debug, Clone, Serialize)]
pub struct Buffer {
    /// Its identity, `st_ino`.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// The exporter's name.
    pub exporter: String,
    /// The name that user space gave it, or null.
    pub name: Option<String>,
    /// Whether the exporter can map it; null if not known.
    pub mappable: Option<bool>,
    /// Attached devices; null if not known.
    pub importers: Option<Importers>,
    /// Processes that hold it.
    pub holders: Vec<Holder>,
    /// Fences pending; null if not known.
    pub fences: Option<Fences>,
    /// Whether two mappings, or two pages of one, are cached differently.
    pub caching_differs: bool,
}

/// A process that holds a buffer.
#[derive(Debug, Clone, Serialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// Its descriptors of the buffer.
    pub fds: Vec<u32>,
    /// Its mappings of the buffer.
    pub mappings: Vec<Mapping>,
}

/// A mapping of a buffer.
#[derive(Debug, Clone, Serialize)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address past the end.
    pub end: u64,
    /// Offset in the buffer, in bytes.
    pub offset: u64,
    /// Its caching; null if not known.
    pub caching: Option<Caching>,
    /// How that is known; null if it is not.
    pub source: Option<Source>,
    /// Whether get_user_pages works; null if not known.
    pub gup: Option<bool>,
}

impl Document {
    /// All of a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let all: Vec<_> = report.buffers.iter().collect();
        Self::of_buffers(report, &all)
    }

    /// Some buffers of a report, in this order.
    #[must_use]
    pub fn of_buffers(report: &Report, buffers: &[&report::Buffer]) -> Self {
        Self {
            at: nanoseconds(report.at),
            list: report.list,
            buffers: buffers.iter().map(|buffer| Buffer::of(buffer)).collect(),
            missing: Missing::of(&report.availability),
            unreadable_processes: report.unreadable_processes,
        }
    }
}

/// A time as nanoseconds since 1970.
#[must_use]
pub fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Missing {
    /// What is missing, but for ways that nobody asked for.
    #[must_use]
    pub fn of(availability: &[Availability]) -> Vec<Self> {
        let missing = availability.iter().filter_map(|way| {
            let reason = way.missing.clone()?;
            (reason != Reason::NotConfigured).then(|| Self {
                way: way.strength,
                text: reason.to_string(),
                reason,
            })
        });
        missing.collect()
    }
}

/// The caching of a mapping; where it could not be read, what is written down about the
/// exporter.
#[must_use]
pub fn caching(buffer: &report::Buffer, mapping: &report::Mapping) -> Option<(Caching, Source)> {
    mapping.caching.or_else(|| {
        let estimate = Inspector::estimate(&buffer.exporter, None).ok()?;
        Some((estimate.caching?, estimate.source))
    })
}

impl Buffer {
    fn of(buffer: &report::Buffer) -> Self {
        let mapping = |mapping: &report::Mapping| {
            let known = caching(buffer, mapping);
            Mapping {
                start: mapping.start,
                end: mapping.end,
                offset: mapping.offset,
                caching: known.map(|(caching, _)| caching),
                source: known.map(|(_, source)| source),
                gup: mapping.gup,
            }
        };
        let holder = |holder: &report::Holder| Holder {
            pid: holder.pid,
            command: holder.command.clone(),
            fds: holder.fds.clone(),
            mappings: holder.mappings.iter().map(mapping).collect(),
        };
        Self {
            inode: buffer.inode,
            size: buffer.size,
            exporter: buffer.exporter.clone(),
            name: buffer.name.clone(),
            mappable: buffer.mappable,
            importers: buffer.importers.clone(),
            holders: buffer.holders.iter().map(holder).collect(),
            fences: buffer.fences,
            caching_differs: buffer.caching_differs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::table::tests::report;

    #[test]
    fn keys_are_as_documented() {
        let text = serde_json::to_value(Document::of(&report())).unwrap();
        let expected = serde_json::json!({
            "at": 1_000_000_000u64,
            "list": "processes",
            "buffers": [{
                "inode": 7, "size": 8192, "exporter": "udmabuf", "name": "frame\u{1b}[2J",
                "mappable": true,
                "importers": {"devices": ["gpu0"], "complete": true},
                "holders": [{
                    "pid": 42, "command": "player", "fds": [3, 5],
                    "mappings": [
                        {"start": 4096, "end": 12288, "offset": 0,
                         "caching": "write-back", "source": "pte", "gup": false},
                        {"start": 16384, "end": 20480, "offset": 4096,
                         "caching": "write-back", "source": "rule", "gup": null},
                    ],
                }],
                "fences": {"writing": false, "busy": true},
                "caching_differs": true,
            }],
            "missing": [{
                "way": "vma", "why": "no-capability", "needs": "CAP_BPF",
                "text": "needs CAP_BPF",
            }],
            "unreadable_processes": 2,
        });
        assert_eq!(text, expected);
    }
}
