//! Real KVM: the dirty log of a slot, exporter by exporter.

use std::time::Duration;

use anyhow::Result;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::terms::MemoryModel;
use landbridge_kvm::{KvmImport, SlotOptions};

use crate::checks::Checks;
use crate::kvm_guest::{COUNTERS, Guest, Host, STRIDE};
use crate::scenario::{Expect, Needs, Scenario, Storey};

const SIZE: u64 = 4 << 20;
/// What the guest writes: less than a huge page.
const WRITTEN: u64 = 1 << 20;
const MODEL: MemoryModel = MemoryModel::Revocable { restorable: true };
const LIMIT: Duration = Duration::from_secs(20);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "dirty_pages_are_those_that_the_guest_wrote",
    claim: "a slot's dirty log has the guest's writes page by page whatever exports the memory, and all pages after a revocation",
    storey: Storey::Host,
    needs: Needs {
        kvm: true,
        huge_pages: 34,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
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
        log_of(checks, kind)?;
    }
    Ok(())
}

fn log_of(checks: &mut Checks, kind: Kind) -> Result<()> {
    let host = Host::default();
    let buffer = host.buffer(kind, SIZE, MODEL)?;
    let mut guest = Guest::new(WRITTEN)?;
    let options = SlotOptions {
        log_dirty: true,
        ..SlotOptions::default()
    };
    let import = KvmImport::attach(&guest.slots(), &buffer, COUNTERS, options, &host.tenant)?;
    let dirty = || Ok::<_, anyhow::Error>(import.dirty_pages()?.pages().collect::<Vec<_>>());
    checks.equal(&format!("{kind}: none at first"), &dirty()?, &vec![]);
    guest.run_while(|talk| talk.wait_for(1, LIMIT))?;
    let pages = usize::try_from(WRITTEN / STRIDE)?;
    let seen = dirty()?;
    checks.holds(
        &format!("{kind}: exactly the pages that the guest wrote"),
        seen == (0..pages).collect::<Vec<_>>(),
        format!("{} pages, {pages} written", seen.len()),
    );
    checks.equal(&format!("{kind}: none since"), &dirty()?, &vec![]);
    buffer.revoke(LIMIT)?;
    buffer.restore(LIMIT)?;
    let all = usize::try_from(SIZE / STRIDE)?;
    checks.equal(
        &format!("{kind}: all, once all bytes have changed"),
        &dirty()?.len(),
        &all,
    );
    Ok(())
}
