//! Buffers of the exchange whose memory is a real dma-buf: they move from one
//! exporter to another and back, are taken away and restored, and take and give
//! fences of the kernel.

use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::SyncFile;
use landbridge_dmabuf::sync_file::Status;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::dma_buf::{READ, WRITE, export_sync_file};
use crate::sys::drm::{Card, RDWR};

/// Whole huge pages.
const SIZE: u64 = 2 << 20;
const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(5);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "memory_moves_and_goes_on_real_exporters",
    claim: "dma-bufs and huge pages move, are revoked and restored with every byte, and take the kernel's fences",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem"],
        huge_pages: 4,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

/// An exchange and who pays.
struct Place {
    exchange: Exchange,
    tenant: Tenant,
}

impl Place {
    fn buffer(&self, kind: Kind, model: MemoryModel) -> Result<(Buffer, CpuImport)> {
        let memory = HostMemory::allocate("moving", SIZE, kind)?.of_model(model);
        let buffer = self.exchange.publish(memory, &self.tenant)?;
        let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &self.tenant)?;
        Ok((buffer, cpu))
    }
}

fn body(checks: &mut Checks) -> Result<()> {
    let place = Place {
        exchange: Exchange::new(),
        tenant: Tenant::new("lab", Limits::NONE),
    };
    moves(checks, &place)?;
    for kind in [Kind::Udmabuf, Kind::SystemHeap, Kind::HugePages] {
        goes(checks, &place, kind)?;
    }
    fences(checks, &place)
}

fn write(cpu: &CpuImport, byte: u8) -> Result<()> {
    let access = cpu.access(Direction::Write, LONG)?;
    access.view().fill(0, SIZE as usize, byte)?;
    Ok(access.end()?)
}

/// The byte that all are, if they are.
fn read(cpu: &CpuImport) -> Result<Option<u8>> {
    let access = cpu.access(Direction::Read, LONG)?;
    let mut bytes = vec![0; SIZE as usize];
    access.view().copy_to(0, &mut bytes)?;
    access.end()?;
    let first = bytes[0];
    Ok(bytes.iter().all(|byte| *byte == first).then_some(first))
}

fn moves(checks: &mut Checks, place: &Place) -> Result<()> {
    let movable = MemoryModel::Movable { pinnable: true };
    let (buffer, cpu) = place.buffer(Kind::Memfd, movable)?;
    let ways = [
        Kind::Udmabuf,
        Kind::SystemHeap,
        Kind::HugePages,
        Kind::SystemHeap,
        Kind::Udmabuf,
        Kind::Memfd,
    ];
    for (byte, to) in (1..).zip(ways) {
        write(&cpu, byte)?;
        let moved = buffer.relocate(to, LONG)?;
        let what = format!("every byte went from {} to {}", moved.from, moved.to);
        checks.equal(&what, &read(&cpu)?, &Some(byte));
        checks.note(format!("{} KiB in {:?}", SIZE >> 10, moved.blackout));
    }
    Ok(())
}

fn goes(checks: &mut Checks, place: &Place, kind: Kind) -> Result<()> {
    let restorable = MemoryModel::Revocable { restorable: true };
    let (buffer, cpu) = place.buffer(kind, restorable)?;
    write(&cpu, 7)?;
    let late = cpu.access(Direction::ReadWrite, LONG)?;
    let report = buffer.revoke(SOON)?;
    let refused = late.view().read_at::<u8>(0).is_err() && late.end().is_err();
    let cut = (report.cut_off.is_some(), refused);
    checks.equal(
        &format!("{kind}: a late access is cut off, and nobody crashes"),
        &cut,
        &(true, true),
    );
    buffer.restore(LONG)?;
    checks.equal(
        &format!("{kind}: every byte comes back"),
        &read(&cpu)?,
        &Some(7),
    );
    Ok(())
}

/// vgem's fence stands for a device's work.
fn fences(checks: &mut Checks, place: &Place) -> Result<()> {
    let (buffer, cpu) = place.buffer(Kind::Udmabuf, MemoryModel::Pinned)?;
    let idle = buffer.fences_out(Direction::Write, SOON)?;
    let idle = idle.context("a udmabuf has fences")?.status()?;
    checks.equal(
        "an idle buffer's fence is signalled",
        &idle,
        &Status::Signaled,
    );

    let vgem = Card::open("vgem")?;
    let object = vgem.dumb(4096)?;
    let number = vgem.attach_fence(object.handle, true)?;
    let lender = vgem.export(object.handle, RDWR)?;
    let pending = export_sync_file(&lender, (READ | WRITE) as u32)?;
    let pending = SyncFile::try_from(pending)?;
    let fence = buffer.fence_in("vgem", Direction::Write, pending)?;
    let out = buffer.fences_out(Direction::Read, SOON);
    checks.holds(
        "a writer's fence is waited for",
        out.is_err(),
        "until it is",
    );
    let access = cpu.access(Direction::Read, SOON);
    checks.holds("by a CPU too", access.is_err(), "until it is");
    vgem.signal_fence(number)?;
    checks.equal(
        "its end is heard of",
        &fence.wait(LONG),
        &Some(Outcome::Done),
    );
    cpu.access(Direction::Read, LONG)?.end()?;
    let after = buffer.fences_out(Direction::Read, SOON)?;
    let after = after.context("a udmabuf has fences")?.status()?;
    checks.equal("then nobody waits", &after, &Status::Signaled);
    Ok(())
}
