//! A tenant whose VMM holds on to everything: nobody waits for it beyond a
//! deadline, it pins no more than it may, and of memory that was taken away it
//! sees nothing more, as a process of its own tells.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::scanout::{Failing, ScanoutImport};
use landbridge_exchange::importers::window::{
    MapperError, Unmapped, Window, WindowMap, WindowMapper,
};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};

use crate::checks::Checks;
use crate::holdout::Holdout;
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::dma_buf::{Fences, IMPORT_SYNC_FILE, READ, WRITE, export_sync_file};
use crate::sys::drm::{Card, RDWR};
use crate::sys::ioctl::ioctl;

/// Whole huge pages.
const SIZE: u64 = 2 << 20;
const DEADLINE: Duration = Duration::from_millis(200);
/// The deadline, half a second for a VMM to answer, and a busy machine.
const SLACK: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(10);
const RESTORABLE: MemoryModel = MemoryModel::Revocable { restorable: true };
const MOVABLE: MemoryModel = MemoryModel::Movable { pinnable: true };

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_hostile_tenant_gets_no_more_than_its_due",
    claim: "a VMM that answers nothing and a fence that never ends hold nobody up past a deadline, a tenant pins no more than it may, and of revoked memory its own process sees nothing more",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem"],
        huge_pages: 3,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let place = Place {
        exchange: Exchange::new(),
        host: Tenant::new("host", Limits::NONE),
        hostile: Tenant::new(
            "hostile",
            Limits {
                pinned_bytes: SIZE,
                ..Limits::NONE
            },
        ),
    };
    blocks_nobody(checks, &place)?;
    pins_no_more(checks, &place)?;
    for kind in [Kind::Memfd, Kind::HugePages, Kind::Udmabuf] {
        sees_no_more(checks, &place, kind)?;
    }
    Ok(())
}

struct Place {
    exchange: Exchange,
    host: Tenant,
    hostile: Tenant,
}

impl Place {
    fn buffer(&self, kind: Kind, model: MemoryModel) -> Result<Buffer> {
        let memory = HostMemory::allocate("hostile", SIZE, kind)?.of_model(model);
        Ok(self.exchange.publish(memory, &self.host)?)
    }
}

/// A VMM that keeps what it is given and hears no request to let go.
#[derive(Default)]
struct Vmm(Mutex<Option<OwnedFd>>);

impl WindowMapper for Vmm {
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError> {
        let kept = map.file.try_clone_to_owned().ok();
        if let Ok(mut file) = self.0.lock() {
            *file = kept;
        }
        Ok(())
    }

    fn unmap(&self, _: u64, _: u64) -> Result<Unmapped, MapperError> {
        // Longer than anybody here lives.
        std::thread::sleep(Duration::from_secs(3600));
        Err(MapperError::Refused("unmap"))
    }
}

impl Vmm {
    fn file(&self) -> Result<OwnedFd> {
        let file = self.0.lock().ok().and_then(|mut file| file.take());
        file.context("it was given nothing")
    }
}

/// It puts a fence into the dma-buf that it was lent, which it never signals.
fn blocks_nobody(checks: &mut Checks, place: &Place) -> Result<()> {
    let buffer = place.buffer(Kind::Udmabuf, RESTORABLE)?;
    let vmm = Arc::<Vmm>::default();
    let window = Window::new(Arc::clone(&vmm) as Arc<_>, SIZE);
    let mapping = window.map(&buffer, 0, &place.hostile)?;
    let screen = ScanoutImport::attach_as(&buffer, 0, Failing::Allowed, &place.host)?;
    screen.read(LONG)?.end()?;
    let cpu = CpuImport::attach(&buffer, "host", Direction::ReadWrite, &place.host)?;
    write(&cpu, 0, 0x5a)?;

    let vgem = Card::open("vgem")?;
    let object = vgem.dumb(4096)?;
    let fence = vgem.attach_fence(object.handle, true)?;
    let lender = vgem.export(object.handle, RDWR)?;
    let forever = export_sync_file(&lender, (READ | WRITE) as u32)?;
    let mut import = Fences {
        flags: WRITE as u32,
        fd: forever.as_raw_fd(),
    };
    let file = vmm.file()?;
    let mut holdout = Holdout::start(file.as_fd(), SIZE)?;
    ioctl(&file, IMPORT_SYNC_FILE, &mut import)?;
    let start = Instant::now();
    let shown = screen.read(DEADLINE);
    held_up(checks, "a scanout", start, shown.is_err());
    drop(shown);
    let kept = buffer.identity();
    let start = Instant::now();
    let revoked = buffer.revoke(DEADLINE);
    held_up(checks, "a revocation", start, true);
    // Nothing empties a dma-buf under who maps it: said, and left to him.
    checks.refused("and he is named", revoked, "guest window");
    buffer.restore(DEADLINE)?;
    checks.holds(
        "what comes back is other memory",
        buffer.identity() != kept,
        "than what he keeps",
    );
    let byte = read(&cpu, 0)?;
    checks.equal(
        "with the bytes, though the fence has not ended",
        &byte,
        &0x5a,
    );
    write(&cpu, 4096, 0x6b)?;
    let theirs = holdout.sees(4096)?;
    checks.equal("and he sees nothing of what is written later", &theirs, &0);
    vgem.signal_fence(fence)?;
    // The VMM is not asked again.
    std::mem::forget(mapping);
    Ok(())
}

fn held_up(checks: &mut Checks, who: &str, start: Instant, ended: bool) {
    let took = start.elapsed();
    checks.holds(
        &format!("{who} is not held up past its deadline"),
        ended && took < DEADLINE + SLACK,
        format!("{} ms", took.as_millis()),
    );
}

fn pins_no_more(checks: &mut Checks, place: &Place) -> Result<()> {
    let pinned = || place.hostile.used(Resource::PinnedBytes);
    let before = pinned();
    let memory = HostMemory::allocate("pinned", SIZE, Kind::Udmabuf)?;
    let first = place.exchange.publish(memory, &place.hostile)?;
    checks.equal("it pins what it may", &(pinned() - before), &SIZE);
    let want = format!("tenant hostile asks for {SIZE} pinned bytes: it holds {SIZE} of {SIZE}");
    let memory = HostMemory::allocate("pinned", SIZE, Kind::Memfd)?;
    let second = place.exchange.publish(memory, &place.hostile);
    checks.refused("and no more of its own", second, &want);
    let movable = place.buffer(Kind::Memfd, MOVABLE)?;
    let window = Window::new(Arc::<Vmm>::default(), SIZE);
    let mapped = window.map(&movable, 0, &place.hostile);
    checks.refused("nor of others", mapped, &want);
    let moved = movable.relocate(Kind::Udmabuf, LONG);
    checks.holds("which still moves", moved.is_ok(), format!("{moved:?}"));
    drop(first);
    checks.equal("nothing is lost", &pinned(), &before);
    Ok(())
}

/// What its process sees, before and afterwards.
fn sees_no_more(checks: &mut Checks, place: &Place, kind: Kind) -> Result<()> {
    let buffer = place.buffer(kind, RESTORABLE)?;
    let vmm = Arc::<Vmm>::default();
    let window = Window::new(Arc::clone(&vmm) as Arc<_>, SIZE);
    let mapping = window.map(&buffer, 0, &place.hostile)?;
    let cpu = CpuImport::attach(&buffer, "host", Direction::ReadWrite, &place.host)?;
    let mut holdout = Holdout::start(vmm.file()?.as_fd(), SIZE)?;
    write(&cpu, 0, 0x5a)?;
    checks.equal(
        &format!("{kind}: its process sees the memory"),
        &holdout.sees(0)?,
        &0x5a,
    );
    let revoked = buffer.revoke(DEADLINE);
    if kind == Kind::Udmabuf {
        // Nothing empties a dma-buf under who maps it: said, and left to him.
        checks.refused(&format!("{kind}: it is named"), revoked, "guest window");
    } else {
        revoked?;
        checks.equal(&format!("{kind}: it sees zeros"), &holdout.sees(0)?, &0);
    }
    buffer.restore(DEADLINE)?;
    checks.equal(
        &format!("{kind}: everybody else has the bytes back"),
        &read(&cpu, 0)?,
        &0x5a,
    );
    write(&cpu, 4096, 0x6b)?;
    checks.equal(
        &format!("{kind}: it sees nothing of what is written later"),
        &holdout.sees(4096)?,
        &0,
    );
    holdout.writes(8192, 0x77)?;
    checks.equal(
        &format!("{kind}: and nobody sees what it writes"),
        &read(&cpu, 8192)?,
        &0,
    );
    std::mem::forget(mapping);
    Ok(())
}

fn write(cpu: &CpuImport, at: usize, byte: u8) -> Result<()> {
    let access = cpu.access(Direction::Write, LONG)?;
    access.view().write_at(at, byte)?;
    Ok(access.end()?)
}

fn read(cpu: &CpuImport, at: usize) -> Result<u8> {
    let access = cpu.access(Direction::Read, LONG)?;
    let byte = access.view().read_at(at)?;
    access.end()?;
    Ok(byte)
}
