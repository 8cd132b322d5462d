//! GEM handles are counted per open device: what is imported twice is closed
//! once, by whoever goes last.

use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::DmaBuf;
use landbridge_dmabuf::gem::{Device, Object, Syncobj};
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::sync_file::Status;

use crate::checks::Checks;
use crate::scenario::{self, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_gem_handle_closes_with_its_last_share",
    claim: "importing a buffer twice shares one handle, and closing it once leaves it to the other",
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

/// Threads that import and close the same buffers at once, and how often each.
const THREADS: usize = 4;
const TURNS: usize = 200;

fn body(checks: &mut Checks) -> Result<()> {
    let vgem = Device::of_driver("vgem")?;
    let buffer = Heap::open("system")?.allocate(64 << 10)?;
    let first = vgem.import(&buffer)?;
    let second = vgem.import(&buffer)?;
    let handle = first.handle();
    checks.equal(
        "a second import is the same handle",
        &second.handle(),
        &handle,
    );
    checks.equal("with two shares", &first.shares(), &2);
    checks.equal("and one handle is open", &vgem.open_handles(), &1);
    drop(first);
    let again = second.export().context("after the first share has gone")?;
    checks.equal(
        "the other still leads to the buffer that was imported",
        &again.identity()?,
        &buffer.identity()?,
    );
    drop(second);
    checks.equal("the last share closes it", &vgem.open_handles(), &0);

    natives(checks, &vgem)?;
    at_once(checks, &vgem)?;
    syncobjs(checks)
}

/// A device's own buffer comes home as itself.
fn natives(checks: &mut Checks, vgem: &Device) -> Result<()> {
    let own = vgem.create_dumb(64, 64, 32)?.object;
    let sent = own.export()?;
    let home = vgem.import(&sent)?;
    checks.equal(
        "its own buffer is the same handle",
        &home.handle(),
        &own.handle(),
    );
    checks.equal(
        "and is not taken for an import",
        &home.is_imported(),
        &false,
    );
    let other = Device::of_driver("vgem")?;
    let abroad = other.import(&sent)?;
    checks.equal("elsewhere it is an import", &abroad.is_imported(), &true);
    checks.equal("of the same identity", &abroad.identity(), &own.identity());
    let back = vgem.import(&abroad.export()?)?;
    checks.equal("and comes back as itself", &back.handle(), &own.handle());
    checks.equal("with three shares", &own.shares(), &3);
    drop((home, back, own));
    checks.equal("which all must go", &vgem.open_handles(), &0);
    Ok(())
}

/// Imports and closes of many threads.
fn at_once(checks: &mut Checks, vgem: &Device) -> Result<()> {
    let heap = Heap::open("system")?;
    let buffers = [heap.allocate(4096)?, heap.allocate(8192)?];
    let wrong = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    (0..TURNS)
                        .filter(|turn| !turn_is_right(vgem, &buffers[turn % 2]))
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(TURNS))
            .sum::<usize>()
    });
    checks.equal("no turn met another's handle, or none", &wrong, &0);
    checks.equal("and no handle is left open", &vgem.open_handles(), &0);
    Ok(())
}

/// Whether an import, while others import and close, leads to its buffer.
fn turn_is_right(vgem: &Device, buffer: &DmaBuf) -> bool {
    let seen = |object: &Object| object.export()?.identity();
    vgem.import(buffer)
        .and_then(|object| Ok(seen(&object)? == buffer.identity()?))
        .unwrap_or(false)
}

/// Fences cross between syncobjs and sync_files.
fn syncobjs(checks: &mut Checks) -> Result<()> {
    let gpu = Device::of_driver("virtio_gpu")?;
    let done = Syncobj::create(&gpu, true)?.to_sync_file()?;
    checks.equal(
        "a signalled syncobj is so as a sync_file",
        &done.status()?,
        &Status::Signaled,
    );
    let taken = Syncobj::from_sync_file(&gpu, &done)?;
    checks.equal(
        "and back",
        &taken.to_sync_file()?.status()?,
        &Status::Signaled,
    );
    let empty = Syncobj::create(&gpu, false)?;
    checks.equal(
        "an empty one has no fence",
        &empty.to_sync_file().err().and_then(|e| e.errno()),
        &Some(libc::EINVAL),
    );
    empty.signal()?;
    checks.equal(
        "until it is signalled",
        &empty.to_sync_file()?.status()?,
        &Status::Signaled,
    );
    let vgem = Device::of_driver("vgem")?;
    checks.equal(
        "vgem has no syncobjs",
        &Syncobj::create(&vgem, true).err().and_then(|e| e.errno()),
        &Some(libc::EOPNOTSUPP),
    );
    Ok(())
}
