//! What a program without privileges is told.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::Udmabuf;
use landbridge_dmabuf::heap::Heap;

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Privileges, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "an_ordinary_user_is_told_that_exporters_are_off_limits",
    claim: "without privileges udmabuf and heaps are refused with EACCES, not reported as absent",
    storey: Storey::Host,
    needs: Needs {
        privileges: Privileges::User,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let user = rustix::process::getuid().as_raw();
    checks.holds("the body is not root", user != 0, user);
    let udmabuf = Udmabuf::open().err().and_then(|error| error.errno());
    checks.equal("udmabuf", &udmabuf, &Some(libc::EACCES));
    let heap = Heap::open("system").err().and_then(|error| error.errno());
    checks.equal("the system heap", &heap, &Some(libc::EACCES));
    Ok(())
}
