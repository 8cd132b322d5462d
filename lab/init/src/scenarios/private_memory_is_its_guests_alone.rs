//! Real KVM: guest_memfd, which has no mapping in its VMM.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use landbridge_kvm::{Error, PrivateMemory, PrivateSlot};

use crate::checks::{Checks, skip};
use crate::kvm_guest::{COUNTERS, Guest, Ran};
use crate::scenario::{Expect, Needs, Scenario, Storey};

const SIZE: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(20);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "private_memory_is_its_guests_alone",
    claim: "a guest counts in memory that its VMM can't map, and meets zeros once it is taken away",
    storey: Storey::Host,
    needs: Needs {
        kvm: true,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let mut guest = Guest::new(SIZE)?;
    let slots = guest.slots();
    let memory = match PrivateMemory::new(&slots, SIZE) {
        Err(Error::Missing(what)) => return Err(skip(format!("no {what}"))),
        memory => memory?,
    };
    let slot = PrivateSlot::insert(&slots, COUNTERS, memory)?;
    let other = Guest::new(SIZE)?;
    let overlap = PrivateMemory::new(&slots, SIZE)?;
    checks.refused(
        "its addresses are taken",
        PrivateSlot::insert(&slots, COUNTERS + SIZE / 2, overlap),
        "has some of",
    );
    let elsewhere = PrivateMemory::new(&slots, SIZE)?;
    checks.refused(
        "another guest can't have it",
        PrivateSlot::insert(&other.slots(), COUNTERS, elsewhere),
        "KVM_SET_USER_MEMORY_REGION2",
    );
    let talk = guest.talk();
    let (before, ran) = thread::scope(|scope| {
        let runs = scope.spawn(|| guest.run());
        let done = talk.wait_for(3, LIMIT).and_then(|_| {
            let seen = (talk.rounds()?, talk.first_counter()?);
            slot.memory().discard()?;
            talk.wait_for(3, LIMIT)?;
            Ok(seen)
        });
        talk.stop()?;
        let ran = runs.join().map_err(|_| anyhow!("a thread panicked"))?;
        Ok::<_, anyhow::Error>((done?, ran?))
    })?;
    let after = (talk.rounds()?, talk.first_counter()?);
    checks.equal(
        "the guest ran on the descriptor alone",
        &ran,
        &Ran::default(),
    );
    checks.holds(
        "it counted there",
        before.1 >= before.0 && before.0 >= 3,
        format!("(rounds, first counter): {before:?}"),
    );
    checks.holds(
        "it met zeros once they were taken away",
        after.1 < after.0,
        format!("(rounds, first counter): {after:?}"),
    );
    Ok(())
}
