//! Thousands of lives of a blob leave no trace in our process, nor in QEMU.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::ONE_GPU;
use crate::scenario::{Expect, Scenario, Storey};
use crate::sys::memory::PAGE;
use crate::virtgpu::{Blob, CROSS_DEVICE, Card, MAPPABLE};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cycles_of_a_blob_leave_nothing_behind",
    claim: "create, map, write, unmap, unref, again and again: daemon and QEMU hold no more",
    storey: Storey::Guest,
    needs: ONE_GPU,
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

/// The first ones fill pools; what is held is compared after them.
const SETTLING: u32 = 200;
/// What an allocator may keep.
const SLACK_KIB: u64 = 600;
/// QEMU's records of code that it translates meanwhile: 48 bytes for each of some
/// 4000 blocks.
const RECORDS_KIB: u64 = 200;
/// What QEMU 11.1.3 loses of each map: the `MemoryRegion` that
/// `virtio_shared_memory_mapping_new` allocates, 272 bytes and the allocator's 16.
const LOST_BYTES: u64 = 288;

/// One kind of blob, again and again.
struct Course {
    name: &'static str,
    flags: u32,
    cycles: u32,
    /// How often the VMM is asked to map something at most, of all those cycles.
    maps: u32,
}

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    let idling = checks.rounds(1000, 10_000);
    let mapped = checks.rounds(300, 2000);
    let courses = [
        Course {
            name: "in an idle map",
            flags: MAPPABLE,
            cycles: idling,
            // The driver may not yet have given the last place back, nor the one
            // before, so that a blob comes to lie where none was.
            maps: idling / 10,
        },
        Course {
            name: "mapped each time",
            flags: MAPPABLE | CROSS_DEVICE,
            cycles: mapped,
            maps: mapped,
        },
    ];
    courses
        .iter()
        .try_for_each(|course| go(checks, &mut desk, &card, course))
}

fn go(checks: &mut Checks, desk: &mut Desk, card: &Card, course: &Course) -> Result<()> {
    let (name, cycles) = (course.name, course.cycles);
    for number in 0..SETTLING {
        live_once(card, course.flags, number)?;
    }
    let settled = |desk: &mut Desk| desk.status_when(|it| it["devices"][0]["maps"] == 0);
    let start = settled(desk)?;
    let (daemon, vmm) = (desk.daemon()?, desk.vmm()?);
    let began = Instant::now();
    let mut on_the_way = vec![(daemon.anonymous_kib, vmm.anonymous_kib)];
    for number in 1..=cycles {
        live_once(card, course.flags, number)?;
        if number % (cycles / 10) == 0 {
            on_the_way.push((desk.daemon()?.anonymous_kib, desk.vmm()?.anonymous_kib));
        }
    }
    let took = began.elapsed();
    let end = settled(desk)?;
    let (daemon_after, vmm_after) = (desk.daemon()?, desk.vmm()?);
    checks.note(format!(
        "{name}: {} µs a cycle; KiB of the daemon and of QEMU on the way: {on_the_way:?}",
        took.as_micros() / u128::from(cycles)
    ));
    checks.equal(
        &format!("{name}: guests hold as much"),
        &end["guests"],
        &start["guests"],
    );
    checks.equal(
        &format!("{name}: as large buffers"),
        &sizes(&end),
        &sizes(&start),
    );
    daemon_after.check_no_growth(checks, "the daemon", daemon);
    daemon_after.check_memory(checks, "the daemon", daemon, SLACK_KIB);
    vmm_after.check_no_growth(checks, "QEMU", vmm);
    let lost = u64::from(course.maps) * LOST_BYTES / 1024;
    vmm_after.check_memory(checks, "QEMU", vmm, SLACK_KIB + RECORDS_KIB + lost);
    Ok(())
}

/// Of the living buffers.
fn sizes(status: &Value) -> Vec<Option<u64>> {
    let buffers = status["buffers"].as_array();
    let buffers = buffers.into_iter().flatten();
    buffers.map(|buffer| buffer["size"].as_u64()).collect()
}

fn live_once(card: &Card, flags: u32, number: u32) -> Result<()> {
    let made = card.blob(Blob {
        flags,
        ..Blob::of_the_host(PAGE as u64)
    })?;
    let map = card.map(made)?;
    map.set(0, number as u8);
    drop(map);
    card.close(made.handle)?;
    Ok(())
}
