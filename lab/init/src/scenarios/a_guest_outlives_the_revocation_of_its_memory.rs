//! Real KVM: memory is taken away from a guest that writes it without pause, and
//! comes back.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use landbridge_exchange::Buffer;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_kvm::{KvmImport, OnRevoke, SlotOptions};

use crate::checks::Checks;
use crate::kvm_guest::{COUNTERS, Guest, Host, Ran, STRIDE};
use crate::scenario::{Expect, Needs, Scenario, Storey};

const SIZE: u64 = 2 << 20;
const MODEL: MemoryModel = MemoryModel::Revocable { restorable: true };
const LIMIT: Duration = Duration::from_secs(30);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_guest_outlives_the_revocation_of_its_memory",
    claim: "memory that is taken from a running guest is out of its reach, it meets zeros or MMIO as its VMM chose, and the bytes come back",
    storey: Storey::Host,
    needs: Needs {
        kvm: true,
        huge_pages: 34,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(120),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    for kind in [
        Kind::Memfd,
        Kind::Udmabuf,
        Kind::SystemHeap,
        Kind::HugePages,
    ] {
        zeros(checks, kind)?;
    }
    removed(checks)?;
    by_size(checks)
}

/// The guest counts on in zero pages: every increment is either in the memory,
/// or in those.
fn zeros(checks: &mut Checks, kind: Kind) -> Result<()> {
    let host = Host::default();
    let buffer = host.buffer(kind, SIZE, MODEL)?;
    let mut guest = Guest::new(SIZE)?;
    let options = SlotOptions::default();
    let import = KvmImport::attach(&guest.slots(), &buffer, COUNTERS, options, &host.tenant)?;
    let ran = revoke_under(&mut guest, &buffer)?;
    checks.equal(&format!("{kind}: the guest ran on"), &ran, &Ran::default());
    checks.holds(
        &format!("{kind}: it has the memory no more"),
        !import.is_mapped(),
        import.is_mapped(),
    );
    let reader = CpuImport::attach(&buffer, "late", Direction::Read, &host.tenant);
    checks.refused(
        &format!("{kind}: nobody gets in"),
        reader,
        "is revoked, restorable",
    );
    let rounds = guest.talk().rounds()?;
    let area = import.area().ok_or_else(|| anyhow!("no slot"))?;
    let in_zeros: Vec<u32> = (0..area.len())
        .step_by(STRIDE as usize)
        .map(|page| area.view().read_at(page))
        .collect::<Result<_, _>>()?;
    buffer.restore(LIMIT)?;
    let kept = host.words(&buffer, 0)?;
    let pairs = || kept.iter().zip(&in_zeros);
    checks.holds(
        &format!("{kind}: the guest met zeros, and the bytes came back"),
        pairs().all(|(kept, zeros)| *kept > 0 && *zeros > 1 && kept + zeros == rounds),
        format!("{:?} of {rounds} rounds", pairs().next()),
    );
    guest.again()?;
    guest.run_while(|talk| talk.wait_for(2, LIMIT))?;
    let more = guest.talk().rounds()? - rounds;
    let now = host.words(&buffer, 0)?;
    let follows = now.iter().zip(&kept).all(|(now, kept)| *now == kept + more);
    checks.holds(
        &format!("{kind}: then it counts where it was"),
        follows && more > 1,
        format!("{more} rounds more"),
    );
    Ok(())
}

/// The guest's accesses are MMIO exits: each increment is in the memory, or was
/// one write to nothing.
fn removed(checks: &mut Checks) -> Result<()> {
    let size = SIZE / 16;
    let host = Host::default();
    let buffer = host.buffer(Kind::Udmabuf, size, MODEL)?;
    let mut guest = Guest::new(size)?;
    let options = SlotOptions {
        on_revoke: OnRevoke::Removed,
        ..SlotOptions::default()
    };
    let _import = KvmImport::attach(&guest.slots(), &buffer, COUNTERS, options, &host.tenant)?;
    let ran = revoke_under(&mut guest, &buffer)?;
    buffer.restore(LIMIT)?;
    let kept: u64 = host
        .words(&buffer, 0)?
        .iter()
        .map(|word| u64::from(*word))
        .sum();
    let rounds = u64::from(guest.talk().rounds()?);
    checks.equal(
        "a slot that was taken out: every increment is in the memory or an MMIO exit",
        &(kept + ran.mmio_writes),
        &(rounds * (size / STRIDE)),
    );
    checks.holds("there were some", ran.mmio_writes > 0, ran.mmio_writes);
    Ok(())
}

/// Runs the guest, revokes the buffer under it, lets it do two rounds more and
/// halts it.
fn revoke_under(guest: &mut Guest, buffer: &Buffer) -> Result<Ran> {
    let (ran, went_on) = guest.run_while(|talk| {
        talk.wait_for(3, LIMIT)?;
        buffer.revoke(LIMIT)?;
        talk.wait_for(3, LIMIT)
    })?;
    ensure!(went_on, "the guest did not go on");
    Ok(ran)
}

/// How long it takes, by size; for people.
fn by_size(checks: &mut Checks) -> Result<()> {
    for kind in [Kind::Memfd, Kind::Udmabuf, Kind::HugePages] {
        let mut times = Vec::new();
        for size in [64 << 10, SIZE, 16 << 20, 64 << 20] {
            if kind == Kind::HugePages && size < SIZE {
                continue;
            }
            let host = Host::default();
            let buffer = host.buffer(kind, size, MODEL)?;
            let guest = Guest::new(size)?;
            let options = SlotOptions::default();
            let _import =
                KvmImport::attach(&guest.slots(), &buffer, COUNTERS, options, &host.tenant)?;
            times.push((size, buffer.revoke(LIMIT)?.took.as_micros()));
        }
        checks.note(format!("revocation of {kind}, (bytes, us): {times:?}"));
    }
    Ok(())
}
