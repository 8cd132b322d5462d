//! Which scenarios share a machine.

use landbridge_lab_init::scenario::{Device, Expect, Scenario, Storey};

/// Scenarios for one machine, in the order in which they run.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The kernel that they run on.
    pub storey: Storey,
    /// What they are; never empty.
    pub scenarios: Vec<&'static Scenario>,
}

/// A batch is at most this long, so that two machines at a time have something
/// to share.
const LONGEST: usize = 6;

impl Batch {
    /// Takes out the scenarios that need a newer QEMU than this one.
    pub fn leave_out_newer_than(&mut self, qemu: (u32, u32)) -> Vec<&'static Scenario> {
        self.scenarios
            .extract_if(.., |scenario| scenario.needs.qemu > qemu)
            .collect()
    }

    /// Puts scenarios together that may share a machine: the same storey and
    /// the same devices, programs beside it, and no wish to be alone.
    #[must_use]
    pub fn group(scenarios: &[&'static Scenario]) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        for scenario in scenarios {
            let room = batches
                .iter_mut()
                .find(|batch| batch.has_room_for(scenario));
            match room {
                Some(batch) => batch.scenarios.push(scenario),
                None => batches.push(Self {
                    storey: scenario.storey,
                    scenarios: vec![scenario],
                }),
            }
        }
        // The longest first: a long one that starts last would run alone.
        batches.sort_by_key(|batch| std::cmp::Reverse(batch.cost()));
        batches
    }

    /// The devices that they need, each once.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> = Vec::new();
        for device in self
            .scenarios
            .iter()
            .flat_map(|scenario| scenario.needs.devices)
        {
            if !devices.iter().any(|known| known.id == device.id) {
                devices.push(*device);
            }
        }
        devices
    }

    /// Whether one of them needs /dev/kvm.
    #[must_use]
    pub fn needs_kvm(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.needs.kvm)
    }

    fn has_room_for(&self, scenario: &Scenario) -> bool {
        let first = self.scenarios[0];
        let sociable = |one: &Scenario| {
            !one.needs.alone
                && one.expect == Expect::Passes
                && one.storey != Storey::Nested
                && one.needs.beside.is_empty()
        };
        self.scenarios.len() < LONGEST
            && self.storey == scenario.storey
            && sociable(first)
            && sociable(scenario)
            && ids(first) == ids(scenario)
            && first.needs.kvm == scenario.needs.kvm
    }

    fn cost(&self) -> usize {
        let each = match self.storey {
            Storey::Nested => 5,
            Storey::Host | Storey::Guest => 1,
        };
        each * self.scenarios.len()
    }
}

fn ids(scenario: &Scenario) -> Vec<&'static str> {
    let mut ids: Vec<_> = scenario
        .needs
        .devices
        .iter()
        .map(|device| device.id)
        .collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use landbridge_lab_init::scenario::Needs;

    use super::*;

    const fn needing(name: &'static str, qemu: (u32, u32)) -> Scenario {
        Scenario {
            name,
            claim: "",
            storey: Storey::Host,
            needs: Needs {
                qemu,
                ..Needs::NOTHING
            },
            limit: Duration::from_secs(1),
            expect: Expect::Passes,
            body: |_| Ok(()),
        }
    }

    static OLD: Scenario = needing("old", (10, 9));
    static EXACT: Scenario = needing("exact", (11, 1));
    static NEWER: Scenario = needing("newer", (11, 2));

    #[test]
    fn scenarios_that_need_a_newer_qemu_are_left_out() {
        let mut batch = Batch::group(&[&OLD, &NEWER, &EXACT]).remove(0);
        let names = |scenarios: &[&Scenario]| -> Vec<_> {
            scenarios.iter().map(|scenario| scenario.name).collect()
        };
        assert_eq!(names(&batch.leave_out_newer_than((11, 1))), ["newer"]);
        assert_eq!(names(&batch.scenarios), ["old", "exact"]);
    }
}
