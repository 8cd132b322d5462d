//! The claims, one file each.

mod a_machine_boots_with_real_exporters;

use crate::scenario::Scenario;

/// Every scenario, in the order in which they are listed.
pub const ALL: &[Scenario] = &[a_machine_boots_with_real_exporters::SCENARIO];

/// The scenario called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
