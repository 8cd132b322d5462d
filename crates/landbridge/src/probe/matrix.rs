//! The matrix: exporters by properties.

use std::fmt::Write;

use landbridge_inspect::probe::{Found, Outcome, Row};
use landbridge_inspect::{Availability, Caching, Source, Strength};
use serde::Serialize;

use crate::inspect::document::Missing;
use crate::inspect::notes;
use crate::inspect::table::yes_or_no;
use crate::terminal::{self, plain};

/// One exporter, looked at from all sides.
#[derive(Debug)]
pub(super) struct Looked {
    /// What its buffers are like on this machine.
    pub(super) row: Row,
    /// Whether a guest's processor reaches them; `None` if there are none.
    pub(super) kvm: Option<Outcome<bool>>,
}

/// What `landbridge probe --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    /// Exporters.
    rows: Vec<Line>,
    /// Ways of knowing that are not available here.
    missing: Vec<Missing>,
}

/// One exporter. A property that could not be told is null, and `errors` says why.
#[derive(Debug, Default, Serialize)]
struct Line {
    what: String,
    exporter: Option<String>,
    allocated: bool,
    mappable: Option<bool>,
    caching: Option<Caching>,
    source: Option<Source>,
    gup: Option<bool>,
    offset_honoured: Option<bool>,
    sync_file: Option<bool>,
    kvm: Option<bool>,
    revocable: Option<bool>,
    errors: Vec<String>,
}

impl Line {
    fn of(looked: &Looked) -> Self {
        let row = &looked.row;
        let mut line = Self {
            what: row.what.clone(),
            exporter: row.exporter.clone(),
            ..Self::default()
        };
        match &row.found {
            Outcome::Is(found) => line.found(found),
            Outcome::Failed(why) => line.errors.push(why.clone()),
        }
        match &looked.kvm {
            Some(Outcome::Is(reached)) => line.kvm = Some(*reached),
            Some(Outcome::Failed(why)) => line.errors.push(format!("KVM: {why}")),
            None => {}
        }
        line
    }

    fn found(&mut self, found: &Found) {
        self.allocated = true;
        self.revocable = found.revocable;
        match &found.mapping {
            Outcome::Is(info) => {
                self.mappable = Some(info.mappable);
                self.caching = info.caching;
                self.source = Some(info.source);
                // A rule's "no" may be "not known".
                let known = info.gup || info.source != Source::Rule;
                self.gup = known.then_some(info.gup);
            }
            Outcome::Failed(why) => self.errors.push(format!("mapping: {why}")),
        }
        match &found.offset_honoured {
            Outcome::Is(honoured) => self.offset_honoured = *honoured,
            Outcome::Failed(why) => self.errors.push(format!("offset: {why}")),
        }
        self.sync_file = match &found.sync_file {
            Outcome::Is(()) => Some(true),
            Outcome::Failed(why) => {
                self.errors.push(format!("sync_file: {why}"));
                Some(false)
            }
        };
    }
}

/// The rows as JSON.
pub(super) fn document(rows: &[Looked], availability: &[Availability]) -> Document {
    Document {
        rows: rows.iter().map(Line::of).collect(),
        missing: Missing::of(availability),
    }
}

/// The rows for people, and below them what went wrong with which.
pub(super) fn of(rows: &[Looked], availability: &[Availability]) -> String {
    let mut table = terminal::table(&[
        "allocated from",
        "exporter",
        "maps",
        "caching",
        "known",
        "GUP",
        "offset",
        "sync",
        "KVM",
        "revoke",
    ]);
    let lines: Vec<_> = rows.iter().map(Line::of).collect();
    let (looked_at, absent): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.allocated);
    for line in &looked_at {
        table.add_row([
            line.what.clone(),
            plain(line.exporter.as_deref().unwrap_or("-")).into_owned(),
            yes_or_no(line.mappable).to_owned(),
            line.caching.map_or("?", Caching::short).to_owned(),
            line.source.map_or("?".to_owned(), |it| it.to_string()),
            yes_or_no(line.gup).to_owned(),
            yes_or_no(line.offset_honoured).to_owned(),
            yes_or_no(line.sync_file).to_owned(),
            yes_or_no(line.kvm).to_owned(),
            yes_or_no(line.revocable).to_owned(),
        ]);
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    if !looked_at.is_empty() {
        let _ = writeln!(text, "{table}");
    }
    for line in absent {
        let _ = writeln!(text, "not here: {}: {}", line.what, line.errors.join("; "));
    }
    for line in looked_at {
        for error in &line.errors {
            let _ = writeln!(text, "{}: {}", line.what, plain(error));
        }
    }
    let matters = |strength| matches!(strength, Strength::Pte | Strength::Vma);
    for note in notes::of_availability(availability, matters) {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent() -> Looked {
        let row = Row {
            what: "heaps".into(),
            exporter: None,
            found: Outcome::Failed("this machine has no /dev/dma_heap".into()),
        };
        Looked { row, kvm: None }
    }

    fn refuses_mmap() -> Looked {
        let row = Row {
            what: "a region".into(),
            exporter: Some("vfio_pci_core".into()),
            found: Outcome::Is(Found {
                mapping: Outcome::Failed("the exporter refuses mmap: EINVAL".into()),
                offset_honoured: Outcome::Is(None),
                sync_file: Outcome::Is(()),
                revocable: Some(true),
            }),
        };
        let kvm = Some(Outcome::Is(false));
        Looked { row, kvm }
    }

    #[test]
    fn what_failed_is_told_and_not_guessed() {
        let text = of(&[absent(), refuses_mmap()], &[]);
        assert!(text.contains("not here: heaps: this machine has no /dev/dma_heap"));
        assert!(text.contains("a region: mapping: the exporter refuses mmap"));
        let document = serde_json::to_value(document(&[refuses_mmap()], &[])).unwrap();
        let expected = serde_json::json!({
            "rows": [{
                "what": "a region", "exporter": "vfio_pci_core", "allocated": true,
                "mappable": null, "caching": null, "source": null, "gup": null,
                "offset_honoured": null, "sync_file": true, "kvm": false, "revocable": true,
                "errors": ["mapping: the exporter refuses mmap: EINVAL"],
            }],
            "missing": [],
        });
        assert_eq!(document, expected);
    }
}
