//! The lab tests itself: a body that never ends is cut off at its limit.

use std::time::Duration;

use crate::checks::Checks;
use crate::scenario::{Expect, Failure, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_hang_is_a_failure",
    claim: "a scenario that never ends is reported as a failure when its limit has passed",
    storey: Storey::Host,
    needs: Needs::NOTHING,
    limit: Duration::from_secs(2),
    expect: Expect::Fails(Failure::Hang),
    body,
};

fn body(_checks: &mut Checks) -> anyhow::Result<()> {
    loop {
        std::thread::park();
    }
}
