//! The claims, one file each.

mod a_crash_is_a_failure;
mod a_guest_reaches_a_program_beside_it;
mod a_hang_is_a_failure;
mod a_kernel_panic_is_a_failure;
mod a_killed_machine_is_a_failure;
mod a_machine_boots_with_real_exporters;
mod a_nested_guest_boots_under_kvm;
mod exporters_are_as_written_down;

use std::sync::LazyLock;

use crate::scenario::Scenario;

/// Every scenario, in the order in which they are listed.
pub static ALL: LazyLock<Vec<Scenario>> =
    LazyLock::new(|| [SINGLE, exporters_are_as_written_down::SCENARIOS].concat());

const SINGLE: &[Scenario] = &[
    a_machine_boots_with_real_exporters::SCENARIO,
    a_guest_reaches_a_program_beside_it::SCENARIO,
    a_nested_guest_boots_under_kvm::SCENARIO,
    a_crash_is_a_failure::SCENARIO,
    a_hang_is_a_failure::SCENARIO,
    a_kernel_panic_is_a_failure::SCENARIO,
    a_killed_machine_is_a_failure::SCENARIO,
];

/// The scenario called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
