//! Measurements: declared like scenarios, run by `cargo xtask lab bench`, and
//! part of no verdict. Everything is emulated, so that only ratios within one
//! run mean something.

mod serve;

use crate::scenario::Scenario;

/// Every measurement.
pub const ALL: &[Scenario] = &[serve::SCENARIO];
