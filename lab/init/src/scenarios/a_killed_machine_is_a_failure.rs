//! The lab tests itself: a machine that vanishes takes no verdict with it.

use std::time::Duration;

use crate::checks::Checks;
use crate::report::Ask;
use crate::scenario::{Expect, Failure, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_killed_machine_is_a_failure",
    claim: "a machine whose QEMU is killed in the middle of a scenario is reported as a failure",
    storey: Storey::Host,
    needs: Needs::NOTHING,
    limit: Duration::from_secs(10),
    expect: Expect::Fails(Failure::Gone),
    body,
};

fn body(checks: &mut Checks) -> anyhow::Result<()> {
    checks.holds("everything is right so far", true, "nothing was tried");
    checks.ask(Ask::KillMachine);
    loop {
        std::thread::park();
    }
}
