//! The lab tests itself: a body's process that dies has no verdict, and the
//! machine outlives it.

use std::time::Duration;

use crate::checks::Checks;
use crate::scenario::{Expect, Failure, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_crash_is_a_failure",
    claim: "a scenario whose process dies is reported as a failure",
    storey: Storey::Host,
    needs: Needs::NOTHING,
    limit: Duration::from_secs(10),
    expect: Expect::Fails(Failure::Crash),
    body,
};

fn body(checks: &mut Checks) -> anyhow::Result<()> {
    checks.holds("everything is right so far", true, "nothing was tried");
    std::process::abort()
}
