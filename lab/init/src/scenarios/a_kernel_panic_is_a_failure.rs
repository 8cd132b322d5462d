//! The lab tests itself: a kernel that dies can't pass for a scenario that
//! passed.

use std::time::Duration;

use crate::checks::Checks;
use crate::scenario::{Expect, Failure, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_kernel_panic_is_a_failure",
    claim: "a kernel that panics in the middle of a scenario is reported as a failure",
    storey: Storey::Host,
    needs: Needs::NOTHING,
    limit: Duration::from_secs(10),
    expect: Expect::Fails(Failure::Panic),
    body,
};

fn body(checks: &mut Checks) -> anyhow::Result<()> {
    std::fs::write("/proc/sysrq-trigger", "c")?;
    checks.holds("the kernel is dead", false, "it lives");
    Ok(())
}
