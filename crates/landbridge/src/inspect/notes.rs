//! What could not be seen, and what a privilege would add.

use std::collections::BTreeMap;

use landbridge_inspect::report::{ListSource, Report};
use landbridge_inspect::{Availability, Reason, Strength};

/// One line for each thing that a report lacks.
#[must_use]
pub fn of(report: &Report) -> Vec<String> {
    let mut notes = of_availability(&report.availability, |strength| {
        strength != Strength::BufferList && !(strength == Strength::Importers && listed(report))
    });
    if !listed(report) {
        let all = &report.availability;
        let list = all.iter().find(|way| way.strength == Strength::BufferList);
        let why = list.and_then(|way| way.missing.as_ref());
        let why = why.map_or_else(String::new, |reason| {
            format!("; the kernel's list {reason}")
        });
        notes.push(format!(
            "only buffers that a readable process holds are listed{why}; \
             root reads /sys/kernel/debug/dma_buf/bufinfo instead"
        ));
    }
    match report.unreadable_processes {
        0 => {}
        1 => notes.push("1 process could not be looked into: needs CAP_SYS_PTRACE".to_owned()),
        many => notes.push(format!(
            "{many} processes could not be looked into: needs CAP_SYS_PTRACE"
        )),
    }
    notes
}

/// Whether the list is complete, whoever made it.
fn listed(report: &Report) -> bool {
    report.list != ListSource::Processes
}

/// The ways of knowing that are missing among those that `matter`, one line for each
/// reason.
#[must_use]
pub fn of_availability(
    availability: &[Availability],
    matter: impl Fn(Strength) -> bool,
) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for way in availability.iter().filter(|way| matter(way.strength)) {
        let (Some(adds), Some(reason)) = (adds(way.strength), &way.missing) else {
            continue;
        };
        if *reason != Reason::NotConfigured {
            by_reason.entry(reason.to_string()).or_default().push(adds);
        }
    }
    by_reason
        .into_iter()
        .map(|(reason, adds)| format!("without {}: {reason}", adds.join(", ")))
        .collect()
}

/// What a way of knowing adds to a report.
fn adds(strength: Strength) -> Option<&'static str> {
    match strength {
        Strength::Pte => Some("caching by the page table"),
        Strength::Vma => Some("caching by the mapping's protection"),
        Strength::BufferList => Some("the kernel's list of buffers"),
        Strength::Importers => Some("importing devices"),
        // The first is no privilege, the second is always there, the third only a
        // shorter road to the same answer.
        Strength::KernelIoctl | Strength::Rule | Strength::Query => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(strength: Strength, needs: &'static str) -> Availability {
        Availability {
            strength,
            missing: Some(Reason::NoCapability { needs }),
        }
    }

    #[test]
    fn ways_that_lack_the_same_are_told_together() {
        let ways = [
            missing(Strength::Pte, "CAP_BPF"),
            missing(Strength::Query, "CAP_BPF"),
            missing(Strength::Vma, "CAP_BPF"),
        ];
        let expected =
            "without caching by the page table, caching by the mapping's protection: needs CAP_BPF";
        assert_eq!(of_availability(&ways, |_| true), [expected]);
        assert!(of_availability(&ways, |strength| strength == Strength::Query).is_empty());
    }

    #[test]
    fn what_nobody_asked_for_is_not_missing() {
        let way = Availability {
            strength: Strength::Pte,
            missing: Some(Reason::NotConfigured),
        };
        assert!(of_availability(&[way], |_| true).is_empty());
    }
}
