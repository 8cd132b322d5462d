//! The report for people.

use std::fmt::Write;

use landbridge_inspect::report::{Buffer, Fences, Holder, ListSource, Mapping, Report};

use super::notes;
use crate::serve::settings::Size;
use crate::terminal::{self, plain};

/// The table, what it is about, and what it lacks.
#[must_use]
pub fn of(report: &Report) -> String {
    let mut text = String::new();
    if !report.buffers.is_empty() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", buffers(&report.buffers));
    }
    let _ = writeln!(text, "{}", summary(report));
    for note in notes::of(report) {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// How many, how large, and who said so.
#[must_use]
pub fn summary(report: &Report) -> String {
    let bytes = report.buffers.iter().map(|buffer| buffer.size).sum();
    let flagged = report
        .buffers
        .iter()
        .filter(|buffer| buffer.caching_differs);
    let differ = match flagged.count() {
        0 => String::new(),
        count => format!(", {count} with aliases cached differently"),
    };
    let by = match report.list {
        ListSource::Kernel => "the kernel",
        ListSource::Bufinfo => "debugfs",
        ListSource::Processes => "the processes that can be seen",
    };
    let count = report.buffers.len();
    let noun = if count == 1 { "dma-buf" } else { "dma-bufs" };
    format!("{count} {noun}, {}{differ}, listed by {by}", Size(bytes))
}

fn buffers(buffers: &[Buffer]) -> comfy_table::Table {
    let mut table = terminal::table(&[
        "buffer",
        "size",
        "exporter",
        "name",
        "maps",
        "held by",
        "mapped as",
        "devices",
        "fences",
    ]);
    for buffer in buffers {
        table.add_row([
            buffer.inode.to_string(),
            Size(buffer.size).to_string(),
            plain(&buffer.exporter).into_owned(),
            plain(buffer.name.as_deref().unwrap_or_default()).into_owned(),
            yes_or_no(buffer.mappable).to_owned(),
            lines(buffer.holders.iter().map(held_by)),
            mapped_as(buffer),
            devices(buffer),
            fences(buffer.fences).to_owned(),
        ]);
    }
    table
}

fn lines(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join("\n")
}

/// A question mark where it is not known.
#[must_use]
pub fn yes_or_no(known: Option<bool>) -> &'static str {
    match known {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    }
}

fn held_by(holder: &Holder) -> String {
    let fds: Vec<_> = holder.fds.iter().map(u32::to_string).collect();
    let fds = match fds.as_slice() {
        [] => "no fd".to_owned(),
        fds => format!("fd {}", fds.join(" ")),
    };
    format!("{} {}: {fds}", holder.pid, plain(&holder.command))
}

/// Mappings that behave alike in one process share a line.
fn mapped_as(buffer: &Buffer) -> String {
    let mut alike: Vec<(u32, String, usize)> = Vec::new();
    for holder in &buffer.holders {
        for mapping in &holder.mappings {
            let behaves = behaves(mapping);
            match alike.last_mut() {
                Some((pid, last, count)) if *pid == holder.pid && *last == behaves => *count += 1,
                _ => alike.push((holder.pid, behaves, 1)),
            }
        }
    }
    let mut all: Vec<_> = alike
        .into_iter()
        .map(|(pid, behaves, count)| match count {
            1 => format!("{pid}: {behaves}"),
            count => format!("{pid}: {behaves}, {count} times"),
        })
        .collect();
    if buffer.caching_differs {
        all.push("ALIASES DIFFER".to_owned());
    }
    all.join("\n")
}

fn behaves(mapping: &Mapping) -> String {
    let caching = match mapping.known() {
        Some((caching, source)) => format!("{} ({source})", caching.short()),
        None => "unknown".to_owned(),
    };
    match mapping.gup {
        Some(true) => format!("{caching}, GUP"),
        Some(false) => format!("{caching}, no GUP"),
        None => caching,
    }
}

fn devices(buffer: &Buffer) -> String {
    let Some(importers) = &buffer.importers else {
        return "?".to_owned();
    };
    let mut names: Vec<_> = importers.devices.iter().map(|name| plain(name)).collect();
    if !importers.complete {
        names.push("and maybe more".into());
    }
    names.join("\n")
}

/// Who is not done yet.
#[must_use]
pub fn fences(fences: Option<Fences>) -> &'static str {
    match fences {
        None => "?",
        Some(Fences { writing: true, .. }) => "writing",
        Some(Fences { busy: true, .. }) => "reading",
        Some(_) => "idle",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, SystemTime};

    use landbridge_inspect::{Availability, Caching, Importers, Reason, Source, Strength};

    use super::*;

    /// A report with something of everything.
    pub(in crate::inspect) fn report() -> Report {
        let mapping = |start, end, offset, source, gup| Mapping {
            start,
            end,
            offset,
            caching: Some(Caching::WriteBack),
            source: Some(source),
            gup,
        };
        let buffer = Buffer {
            inode: 7,
            size: 8192,
            exporter: "udmabuf".into(),
            name: Some("frame\u{1b}[2J".into()),
            mappable: Some(true),
            importers: Some(Importers {
                devices: vec!["gpu0".into()],
                complete: true,
            }),
            holders: vec![Holder {
                pid: 42,
                command: "player".into(),
                fds: vec![3, 5],
                mappings: vec![
                    mapping(0x1000, 0x3000, 0, Source::Pte, Some(false)),
                    mapping(0x4000, 0x5000, 0x1000, Source::Rule, None),
                ],
            }],
            fences: Some(Fences {
                writing: false,
                busy: true,
            }),
            caching_differs: true,
        };
        Report {
            buffers: vec![buffer],
            list: ListSource::Processes,
            availability: vec![Availability {
                strength: Strength::Vma,
                missing: Some(Reason::NoCapability { needs: "CAP_BPF" }),
            }],
            unreadable_processes: 2,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        }
    }

    #[test]
    fn everything_is_shown_and_nothing_commands_the_terminal() {
        let text = of(&report());
        for part in [
            "8KiB",
            "udmabuf",
            "42 player: fd 3 5",
            "42: WB (pte), no GUP",
            "42: WB (rule)",
            "ALIASES DIFFER",
            "gpu0",
            "reading",
            "1 dma-buf, 8KiB, 1 with aliases cached differently",
            "2 processes could not be looked into: needs CAP_SYS_PTRACE",
            "needs CAP_BPF",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn mappings_that_behave_alike_share_a_line() {
        let mut report = report();
        let mappings = &mut report.buffers[0].holders[0].mappings;
        mappings[1] = mappings[0].clone();
        assert!(of(&report).contains("42: WB (pte), no GUP, 2 times"));
    }
}
