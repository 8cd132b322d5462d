//! A thousand lives of a blob leave no trace in our process, nor in QEMU.

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
    claim: "create, map, write, unmap, unref, a thousand times: daemon and QEMU hold no more",
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

const CYCLES: usize = 1000;

/// What an allocator may keep of a thousand lives: less than a page for every
/// ten.
const SLACK_KIB: u64 = 400;

/// What an allocator and its threads may map for themselves.
const SLACK_MAPPINGS: usize = 8;

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    for number in 0..100 {
        live_once(&card, number)?;
    }
    let settled = |desk: &mut Desk| desk.status_when(|it| it["devices"][0]["maps"] == 0);
    let start = settled(&mut desk)?;
    let (daemon, vmm) = (desk.daemon()?, desk.vmm()?);
    let began = Instant::now();
    for number in 0..CYCLES {
        live_once(&card, number)?;
    }
    let took = began.elapsed();
    let end = settled(&mut desk)?;
    let (daemon_after, vmm_after) = (desk.daemon()?, desk.vmm()?);
    checks.note(format!("{} µs a cycle", took.as_micros() / CYCLES as u128));
    checks.note(format!("daemon {daemon:?}, then {daemon_after:?}"));
    checks.note(format!("QEMU {vmm:?}, then {vmm_after:?}"));
    checks.equal("guests hold as much", &end["guests"], &start["guests"]);
    checks.equal("of the same buffers", &numbers(&end), &numbers(&start));
    checks.equal(
        "the daemon's descriptors",
        &daemon_after.descriptors,
        &daemon.descriptors,
    );
    checks.holds(
        "the daemon's mappings",
        daemon_after.mappings <= daemon.mappings + SLACK_MAPPINGS,
        format!("{}, then {}", daemon.mappings, daemon_after.mappings),
    );
    checks.holds(
        "the daemon's memory",
        daemon_after.anonymous_kib <= daemon.anonymous_kib + SLACK_KIB,
        format!(
            "{} KiB, then {}",
            daemon.anonymous_kib, daemon_after.anonymous_kib
        ),
    );
    checks.equal(
        "QEMU's descriptors",
        &vmm_after.descriptors,
        &vmm.descriptors,
    );
    Ok(())
}

/// The living buffers. The console's own may have changed.
fn numbers(status: &Value) -> Vec<Option<u64>> {
    let buffers = status["buffers"].as_array();
    let buffers = buffers.into_iter().flatten();
    buffers.map(|buffer| buffer["buffer"].as_u64()).collect()
}

fn live_once(card: &Card, number: usize) -> Result<()> {
    let made = card.blob(Blob::of_the_host(PAGE as u64))?;
    let map = card.map(made)?;
    map.set(0, number as u8);
    drop(map);
    card.close(made.handle)?;
    Ok(())
}
