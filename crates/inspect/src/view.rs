//! Sorting, filtering and comparing reports: what a live view needs.

use std::cmp::{Ordering, Reverse};
use std::collections::HashSet;

use crate::report::{Buffer, Report};

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    /// Largest first.
    #[default]
    Size,
    /// By exporter's name.
    Exporter,
    /// By the buffer's name, unnamed last.
    Name,
    /// Most processes first.
    Holders,
    /// Most mappings first.
    Mappings,
    /// Newest first: inode numbers only grow.
    Newest,
}

impl SortKey {
    /// All keys, in the order in which a view offers them.
    pub const ALL: [Self; 6] = [
        Self::Size,
        Self::Exporter,
        Self::Name,
        Self::Holders,
        Self::Mappings,
        Self::Newest,
    ];

    /// Ties go by inode, so that rows do not jump about.
    #[must_use]
    pub fn compare(self, a: &Buffer, b: &Buffer) -> Ordering {
        let by_key = match self {
            Self::Size => b.size.cmp(&a.size),
            Self::Exporter => a.exporter.cmp(&b.exporter),
            Self::Name => (a.name.is_none(), &a.name).cmp(&(b.name.is_none(), &b.name)),
            Self::Holders => b.holders.len().cmp(&a.holders.len()),
            Self::Mappings => mappings(b).cmp(&mappings(a)),
            Self::Newest => Reverse(a.inode).cmp(&Reverse(b.inode)),
        };
        by_key.then(a.inode.cmp(&b.inode))
    }
}

fn mappings(buffer: &Buffer) -> usize {
    buffer
        .holders
        .iter()
        .map(|holder| holder.mappings.len())
        .sum()
}

/// Whether any text or number that a row shows contains `filter`, whatever the case.
#[must_use]
pub fn matches(buffer: &Buffer, filter: &str) -> bool {
    let filter = filter.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&filter);
    filter.is_empty()
        || has(&buffer.exporter)
        || buffer.name.as_deref().is_some_and(has)
        || has(&buffer.inode.to_string())
        || buffer
            .holders
            .iter()
            .any(|holder| has(&holder.command) || has(&holder.pid.to_string()))
        || buffer
            .importers
            .iter()
            .flat_map(|importers| &importers.devices)
            .any(|device| has(device))
}

/// The rows to show.
#[must_use]
pub fn rows<'a>(report: &'a Report, key: SortKey, filter: &str) -> Vec<&'a Buffer> {
    let mut rows: Vec<_> = report
        .buffers
        .iter()
        .filter(|buffer| matches(buffer, filter))
        .collect();
    rows.sort_by(|a, b| key.compare(a, b));
    rows
}

/// What happened between two reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Buffers that are new.
    pub appeared: usize,
    /// Buffers that are gone.
    pub gone: usize,
    /// Bytes of all buffers now less those before.
    pub bytes: i128,
}

/// Compares by inode.
#[must_use]
pub fn changes(before: &Report, after: &Report) -> Changes {
    let ids = |report: &Report| -> HashSet<u64> {
        report.buffers.iter().map(|buffer| buffer.inode).collect()
    };
    let bytes = |report: &Report| -> i128 {
        report
            .buffers
            .iter()
            .map(|buffer| i128::from(buffer.size))
            .sum()
    };
    let (old, new) = (ids(before), ids(after));
    Changes {
        appeared: new.difference(&old).count(),
        gone: old.difference(&new).count(),
        bytes: bytes(after) - bytes(before),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::report::{Holder, ListSource};

    fn buffer(inode: u64, size: u64, exporter: &str, name: Option<&str>) -> Buffer {
        Buffer {
            inode,
            size,
            exporter: exporter.into(),
            name: name.map(str::to_owned),
            mappable: None,
            importers: None,
            holders: Vec::new(),
            fences: None,
            caching_differs: false,
        }
    }

    fn report(buffers: Vec<Buffer>) -> Report {
        Report {
            buffers,
            list: ListSource::Kernel,
            availability: Vec::new(),
            unreadable_processes: 0,
            at: SystemTime::UNIX_EPOCH,
        }
    }

    fn three() -> Report {
        let mut held = buffer(9, 4096, "system", None);
        held.holders.push(Holder {
            pid: 77,
            command: "Xwayland".into(),
            fds: vec![5],
            mappings: Vec::new(),
        });
        report(vec![
            buffer(7, 4096, "udmabuf", Some("b")),
            buffer(8, 8192, "drm", Some("a")),
            held,
        ])
    }

    fn order(key: SortKey) -> Vec<u64> {
        rows(&three(), key, "")
            .iter()
            .map(|row| row.inode)
            .collect()
    }

    #[test]
    fn sorts_by_every_key() {
        assert_eq!(order(SortKey::Size), [8, 7, 9]);
        assert_eq!(order(SortKey::Exporter), [8, 9, 7]);
        assert_eq!(order(SortKey::Name), [8, 7, 9]);
        assert_eq!(order(SortKey::Holders), [9, 7, 8]);
        assert_eq!(order(SortKey::Mappings), [7, 8, 9]);
        assert_eq!(order(SortKey::Newest), [9, 8, 7]);
    }

    #[test]
    fn filters_by_what_a_row_shows() {
        let shown = |filter| rows(&three(), SortKey::Newest, filter).len();
        assert_eq!((shown("xwayl"), shown("77"), shown("UDMA")), (1, 1, 1));
        assert_eq!((shown("nothing"), shown("")), (0, 3));
    }

    #[test]
    fn counts_what_came_and_went() {
        let (before, mut after) = (three(), three());
        after.buffers.remove(0);
        after.buffers.push(buffer(10, 100, "drm", None));
        let expected = Changes {
            appeared: 1,
            gone: 1,
            bytes: 100 - 4096,
        };
        assert_eq!(changes(&before, &after), expected);
    }
}
