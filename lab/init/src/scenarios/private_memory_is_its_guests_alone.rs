//! Real KVM: guest_memfd, which has no mapping in its VMM.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use landbridge_exchange::Buffer;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::Direction;
use landbridge_kvm::{Error, OnRevoke, PrivateImport, PrivateMemory, PrivateSlot, Slots};

use crate::checks::{Checks, skip};
use crate::kvm_guest::{COUNTERS, Guest, Host, Ran};
use crate::scenario::{Expect, Needs, Scenario, Storey};

const SIZE: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(20);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "private_memory_is_its_guests_alone",
    claim: "a guest counts in memory that its VMM can't map and no other guest can have, and meets zeros or MMIO once it is revoked",
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
    let guest = Guest::new(SIZE)?;
    let slots = guest.slots();
    match PrivateMemory::new(&slots, SIZE) {
        Err(Error::Missing(what)) => return Err(skip(format!("no {what}"))),
        memory => drop(memory?),
    }
    slots_alone(checks, &slots)?;
    zeroes(checks, guest)?;
    removed(checks)
}

/// What a slot refuses, without the exchange.
fn slots_alone(checks: &mut Checks, slots: &Arc<Slots>) -> Result<()> {
    let slot = PrivateSlot::insert(slots, COUNTERS, PrivateMemory::new(slots, SIZE)?)?;
    let overlap = PrivateMemory::new(slots, SIZE)?;
    checks.refused(
        "its addresses are taken",
        PrivateSlot::insert(slots, COUNTERS + SIZE / 2, overlap),
        "has some of",
    );
    drop(slot);
    Ok(())
}

fn zeroes(checks: &mut Checks, mut guest: Guest) -> Result<()> {
    let host = Host::default();
    let buffer = host.publish(PrivateMemory::new(&guest.slots(), SIZE)?)?;
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &host.tenant);
    checks.refused("the VMM can't map it", cpu, "cpu access is not offered");
    let import = |slots: &Arc<Slots>| {
        PrivateImport::attach(slots, &buffer, COUNTERS, OnRevoke::Zeroes, &host.tenant)
    };
    checks.refused(
        "another guest can't have it",
        import(&Guest::new(SIZE)?.slots()),
        "KVM_SET_USER_MEMORY_REGION2",
    );
    let import = import(&guest.slots())?;
    let (ran, before) = revoke_under(&mut guest, &buffer)?;
    let after = (guest.talk().rounds()?, guest.talk().first_counter()?);
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
        after.1 < after.0 && !import.is_mapped(),
        format!("(rounds, first counter): {after:?}"),
    );
    checks.refused("for good", buffer.restore(LIMIT), "is revoked");
    Ok(())
}

/// The other choice of a VMM.
fn removed(checks: &mut Checks) -> Result<()> {
    let size = SIZE / 8;
    let mut guest = Guest::new(size)?;
    let host = Host::default();
    let buffer = host.publish(PrivateMemory::new(&guest.slots(), size)?)?;
    let (slots, choice) = (guest.slots(), OnRevoke::Removed);
    let _import = PrivateImport::attach(&slots, &buffer, COUNTERS, choice, &host.tenant)?;
    let (ran, _) = revoke_under(&mut guest, &buffer)?;
    checks.holds(
        "taken out, its accesses are MMIO exits",
        ran.mmio_writes > 0,
        ran.mmio_writes,
    );
    Ok(())
}

/// Revokes the buffer under the guest. Says what it saw before, and what it met.
fn revoke_under(guest: &mut Guest, buffer: &Buffer) -> Result<(Ran, (u32, u32))> {
    guest.run_while(|talk| {
        talk.wait_for(3, LIMIT)?;
        let seen = (talk.rounds()?, talk.first_counter()?);
        buffer.revoke(LIMIT)?;
        talk.wait_for(3, LIMIT)?;
        Ok(seen)
    })
}
