//! Access waits for the fences that forbid it, and no longer than it may.

use std::time::{Duration, Instant};

use anyhow::Result;
use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::{Access, Bracketed, Direction, DmaBuf, Error};

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::drm::Card;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fences_hold_a_bracket_back",
    claim: "a bracket waits for the fences of others, gives up at its limit, and START waits by itself",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem"],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(20),
    expect: Expect::Passes,
    body,
};

/// How long a fence is held that a bracket is to wait for.
const HELD: Duration = Duration::from_millis(300);
/// Less than that.
const IMPATIENT: Duration = Duration::from_millis(50);
/// More than that.
const PATIENT: Duration = Duration::from_secs(10);

fn body(checks: &mut Checks) -> Result<()> {
    let vgem = Card::open("vgem")?;
    let buffer = Heap::open("system")?.allocate(4096)?;
    let memory = Bracketed::of(buffer.try_clone()?, Access::ReadWrite)?;
    let handle = vgem.import(&buffer)?;

    let fence = vgem.attach_fence(handle, true)?;
    for direction in [Direction::Read, Direction::Write, Direction::ReadWrite] {
        let refused = memory.access(direction, 0..4096, IMPATIENT);
        let timeout = matches!(refused, Err(Error::Timeout));
        drop(refused);
        checks.equal(
            &format!("a writer's fence holds {direction:?} back"),
            &timeout,
            &true,
        );
    }
    checks.equal("and nothing was begun", &memory.counters().begun, &0);
    let waited = signalled_after(&vgem, fence, || memory.read(PATIENT)?.end())?;
    checks.holds(
        "until it is signalled",
        waited >= HELD,
        format!("{waited:?}"),
    );

    let fence = vgem.attach_fence(handle, false)?;
    memory.read(IMPATIENT)?.end()?;
    let refused = memory.write(IMPATIENT);
    checks.equal(
        "a reader's fence holds writers only",
        &matches!(refused, Err(Error::Timeout)),
        &true,
    );
    drop(refused);
    vgem.signal_fence(fence)?;
    memory.write(IMPATIENT)?.end()?;

    start_waits(checks, &vgem, &buffer, handle)?;
    as_sync_file(checks, &vgem, &buffer, &memory, handle)?;
    vgem.close(handle)?;
    Ok(())
}

/// The kernel's START waits without our poll before it.
fn start_waits(checks: &mut Checks, vgem: &Card, buffer: &DmaBuf, handle: u32) -> Result<()> {
    let fence = vgem.attach_fence(handle, true)?;
    let waited = signalled_after(vgem, fence, || buffer.begin_access(Direction::Read)?.end())?;
    checks.holds(
        "START alone waits too",
        waited >= HELD,
        format!("{waited:?}"),
    );
    Ok(())
}

/// A device's fence goes from one buffer to another as a sync_file.
fn as_sync_file(
    checks: &mut Checks,
    vgem: &Card,
    buffer: &DmaBuf,
    memory: &Bracketed,
    handle: u32,
) -> Result<()> {
    let fence = vgem.attach_fence(handle, true)?;
    let file = buffer.export_sync_file(FenceUse::Read)?;
    let other = Heap::open("system")?.allocate(4096)?;
    other.import_sync_file(FenceUse::Write, &file)?;
    let elsewhere = Bracketed::of(other, Access::ReadOnly)?;
    let refused = elsewhere.read(IMPATIENT);
    checks.equal(
        "a fence imported elsewhere holds back there",
        &matches!(refused, Err(Error::Timeout)),
        &true,
    );
    drop(refused);
    vgem.signal_fence(fence)?;
    elsewhere.read(PATIENT)?.end()?;
    memory.read(PATIENT)?.end()?;
    Ok(())
}

/// How long `wait` took, during which `fence` was signalled.
fn signalled_after(
    vgem: &Card,
    fence: u32,
    wait: impl FnOnce() -> landbridge_dmabuf::Result<()>,
) -> Result<Duration> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let signaller = scope.spawn(|| {
            std::thread::sleep(HELD);
            vgem.signal_fence(fence)
        });
        wait()?;
        let waited = start.elapsed();
        let signalled = signaller
            .join()
            .map_err(|_| anyhow::anyhow!("the signaller panicked"))?;
        signalled?;
        Ok(waited)
    })
}
