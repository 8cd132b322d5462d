//! The report as JSON. docs/tools.md tells the keys; they don't change within a major
//! version, and new ones may be added.

use std::time::{SystemTime, UNIX_EPOCH};

use landbridge_inspect::report::{Buffer, ListSource, Report};
use landbridge_inspect::{Availability, Reason, Strength};
use serde::Serialize;

/// What `landbridge inspect --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Document<'a> {
    /// Nanoseconds since 1970.
    pub at: u64,
    /// Where the list of buffers came from: `kernel`, `bufinfo`, `processes`.
    pub list: ListSource,
    /// Buffers, as the report has them.
    pub buffers: Vec<&'a Buffer>,
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

impl<'a> Document<'a> {
    /// All of a report.
    #[must_use]
    pub fn of(report: &'a Report) -> Self {
        Self::of_buffers(report, report.buffers.iter().collect())
    }

    /// Some buffers of a report, in this order.
    #[must_use]
    pub fn of_buffers(report: &'a Report, buffers: Vec<&'a Buffer>) -> Self {
        Self {
            at: nanoseconds(report.at),
            list: report.list,
            buffers,
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
