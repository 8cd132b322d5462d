//! Which scenarios share a machine.

use landbridge_lab_init::scenario::{Device, Expect, Kernel, Scenario, Storey};

/// Scenarios for one machine, in the order in which they run.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The machine that they run in.
    pub storey: Storey,
    /// The kernel that it boots.
    pub kernel: Kernel,
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

    /// Puts scenarios together that may share a machine: the same storey, kernel
    /// and devices, no programs beside it, and no wish to be alone. A scenario is
    /// in as many batches as it has kernels.
    #[must_use]
    pub fn group(scenarios: &[&'static Scenario]) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        for scenario in scenarios {
            for &kernel in scenario.needs.kernels {
                let room = batches
                    .iter_mut()
                    .find(|batch| batch.kernel == kernel && batch.has_room_for(scenario));
                match room {
                    Some(batch) => batch.scenarios.push(scenario),
                    None => batches.push(Self {
                        storey: scenario.storey,
                        kernel,
                        scenarios: vec![scenario],
                    }),
                }
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
                && !one.needs.restarts
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

    static ON_TWO: Scenario = Scenario {
        needs: Needs {
            kernels: &[Kernel::Linux7_2, Kernel::Linux6_1],
            ..Needs::NOTHING
        },
        ..needing("on two", (0, 0))
    };

    #[test]
    fn a_machine_has_one_kernel() {
        let batches = Batch::group(&[&OLD, &ON_TWO]);
        let found: Vec<_> = batches
            .iter()
            .map(|batch| (batch.kernel, batch.scenarios.len()))
            .collect();
        assert_eq!(found, [(Kernel::Linux7_2, 2), (Kernel::Linux6_1, 1)]);
    }

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
