//! Access waits for the fences that forbid it, and no longer than it may.

use std::time::{Duration, Instant};

use anyhow::Result;
use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::gem::{Device, Object, virtgpu};
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::{Access, Bracketed, Direction, DmaBuf, Error};
use rustix::io::Errno;

use crate::checks::Checks;
use crate::scenario::{self, Expect, Needs, Scenario, Storey};
use crate::sys::dma_buf::{self, END, READ, SYNC};
use crate::sys::drm::Card;
use crate::sys::ioctl::ioctl;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fences_hold_a_bracket_back",
    claim: "a bracket waits for the fences of others, and gives up at its limit, START or no START",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", "virtio-gpu"],
        devices: &[scenario::Device::VIRTIO_GPU],
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
        let timeout = matches!(refused, Err(Error::Fenced { .. }));
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
        &matches!(refused, Err(Error::Fenced { .. })),
        &true,
    );
    drop(refused);
    vgem.signal_fence(fence)?;
    memory.write(IMPATIENT)?.end()?;

    as_sync_file(checks, &vgem, &buffer, &memory, handle)?;
    vgem.close(handle)?;

    let gpu = Device::of_driver("virtio_gpu")?
        .create_dumb(64, 64, 32)?
        .object;
    let own = Device::of_driver("vgem")?.create_dumb(64, 64, 32)?.object;
    for buffer in [buffer, own.export()?, gpu.export()?] {
        no_start(checks, &vgem, &buffer)?;
    }
    virtgpu_waits(checks, &vgem, &gpu)
}

/// The kernel's START waits without a limit, so that a bracket must not come to
/// it while a fence is on the buffer. This one nobody signals in time.
fn no_start(checks: &mut Checks, vgem: &Card, buffer: &DmaBuf) -> Result<()> {
    let exporter = buffer.exporter_name()?;
    let handle = vgem.import(buffer)?;
    let fence = vgem.attach_fence(handle, true)?;
    let memory = Bracketed::of(buffer.try_clone()?, Access::ReadWrite)?;
    let began = Instant::now();
    let refused = memory.write(IMPATIENT).err().map(|e| e.to_string());
    let (took, refused) = (began.elapsed(), refused.unwrap_or_default());
    checks.holds(
        &format!("{exporter}: a bracket gives up in time"),
        took >= IMPATIENT && took < PATIENT / 2,
        format!("{took:?}"),
    );
    let which = format!("dma-buf {} of {exporter} ", buffer.identity()?.inode);
    checks.holds(
        &format!("{exporter}: and says which buffer, and how long"),
        refused.contains(&which) && refused.contains(" ms"),
        &refused,
    );
    let waited = signalled_after(vgem, fence, || start_and_end(buffer))?;
    checks.holds(
        &format!("{exporter}: START alone goes on waiting"),
        waited >= HELD,
        format!("{waited:?}"),
    );
    vgem.close(handle)?;
    Ok(())
}

/// As a program does that forgets to wait.
fn start_and_end(buffer: &DmaBuf) -> Result<(), Errno> {
    ioctl(buffer, SYNC, &mut dma_buf::Sync { flags: READ })?;
    ioctl(buffer, SYNC, &mut dma_buf::Sync { flags: READ | END })?;
    Ok(())
}

/// The driver's own wait has a limit of 15 seconds, and ours that which is asked.
fn virtgpu_waits(checks: &mut Checks, vgem: &Card, object: &Object) -> Result<()> {
    let handle = vgem.import(&object.export()?)?;
    let fence = vgem.attach_fence(handle, true)?;
    let began = Instant::now();
    let waited = virtgpu::wait(object, IMPATIENT);
    let took = began.elapsed();
    checks.holds(
        "virtio-gpu's wait gives up in time",
        matches!(waited, Err(Error::Fenced { .. })) && took < PATIENT / 2,
        format!("{waited:?} after {took:?}"),
    );
    let waited = signalled_after(vgem, fence, || virtgpu::wait(object, PATIENT))?;
    checks.holds(
        "and ends with the fence",
        waited >= HELD,
        format!("{waited:?}"),
    );
    vgem.close(handle)?;
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
        &matches!(refused, Err(Error::Fenced { .. })),
        &true,
    );
    drop(refused);
    vgem.signal_fence(fence)?;
    elsewhere.read(PATIENT)?.end()?;
    memory.read(PATIENT)?.end()?;
    Ok(())
}

/// How long `wait` took, during which `fence` was signalled.
fn signalled_after<E>(
    vgem: &Card,
    fence: u32,
    wait: impl FnOnce() -> Result<(), E>,
) -> Result<Duration>
where
    E: std::error::Error + Send + Sync + 'static,
{
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
