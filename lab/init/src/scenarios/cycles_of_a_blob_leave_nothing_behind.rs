//! Thousands of lives of a blob leave no trace in our process, nor in QEMU.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{GPU, MODULE, ONE, PORT};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::PAGE;
use crate::virtgpu::{Blob, Card};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cycles_of_a_blob_leave_nothing_behind",
    claim: "create, map, write, unmap, unref, again and again: daemon and QEMU hold no more",
    storey: Storey::Guest,
    needs: Needs {
        modules: &[MODULE],
        devices: &[PORT, GPU],
        beside: ONE,
        qemu: (11, 1),
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

/// The first ones fill pools; what is held is compared after them.
const SETTLING: u32 = 200;
/// What an allocator may keep. QEMU under software emulation keeps half a KiB for
/// each cycle besides.
const SLACK_KIB: u64 = 600;
/// What the VMM's may touch at once, at any time.
const HUGE_PAGE_KIB: u64 = 2048;
const SHORT: u32 = 1000;
const LONG: u32 = 10_000;

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    for number in 0..SETTLING {
        live_once(&card, number)?;
    }
    let settled = |desk: &mut Desk| desk.status_when(|it| it["devices"][0]["maps"] == 0);
    let start = settled(&mut desk)?;
    let (daemon, vmm) = (desk.daemon()?, desk.vmm()?);
    let began = Instant::now();
    let cycles = checks.rounds(SHORT, LONG);
    let mut course = vec![daemon.anonymous_kib];
    for number in 1..=cycles {
        live_once(&card, number)?;
        if number % (cycles / 10) == 0 {
            course.push(desk.daemon()?.anonymous_kib);
        }
    }
    let took = began.elapsed();
    let end = settled(&mut desk)?;
    let (daemon_after, vmm_after) = (desk.daemon()?, desk.vmm()?);
    checks.note(format!(
        "{} µs a cycle",
        took.as_micros() / u128::from(cycles)
    ));
    checks.note(format!("the daemon's KiB on the way: {course:?}"));
    checks.equal("guests hold as much", &end["guests"], &start["guests"]);
    checks.equal("of the same buffers", &numbers(&end), &numbers(&start));
    daemon_after.check_no_growth(checks, "the daemon", daemon);
    daemon_after.check_memory(checks, "the daemon", daemon, SLACK_KIB);
    vmm_after.check_no_growth(checks, "QEMU", vmm);
    let slack = SLACK_KIB + HUGE_PAGE_KIB + u64::from(cycles);
    vmm_after.check_memory(checks, "QEMU", vmm, slack);
    Ok(())
}

/// The living buffers. The console's own may have changed.
fn numbers(status: &Value) -> Vec<Option<u64>> {
    let buffers = status["buffers"].as_array();
    let buffers = buffers.into_iter().flatten();
    buffers.map(|buffer| buffer["buffer"].as_u64()).collect()
}

fn live_once(card: &Card, number: u32) -> Result<()> {
    let made = card.blob(Blob::of_the_host(PAGE as u64))?;
    let map = card.map(made)?;
    map.set(0, number as u8);
    drop(map);
    card.close(made.handle)?;
    Ok(())
}
