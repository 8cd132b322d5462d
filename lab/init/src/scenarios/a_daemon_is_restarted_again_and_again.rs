//! The daemon dies and is started again, over and over, under a VM that lives:
//! each recovery gives everything back that the one before had taken.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{GPU, LEAKS, ONE_GPU, PORT, QMP, RECOVER, SERVE_ONE};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, Card, Picture};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_daemon_is_restarted_again_and_again",
    claim: "each recovery leaves QEMU and the daemon with what they had at the start",
    storey: Storey::Guest,
    needs: Needs {
        devices: &[PORT, GPU, QMP],
        alone: true,
        ..ONE_GPU
    },
    limit: Duration::from_secs(180),
    expect: Expect::Passes,
    body,
};

const SHORT: u32 = 4;
const LONG: u32 = 50;

/// What is held is compared from this restart on.
const SETTLED: u32 = 1;

/// What an allocator may keep: a part of it whatever happens, and a part for each
/// restart.
const SLACK_KIB: u64 = 4096;
const A_RESTART_KIB: u64 = 64;

fn body(checks: &mut Checks) -> Result<()> {
    checks.excuse(LEAKS);
    let mut desk = Desk::open()?;
    let restarts = checks.rounds(SHORT, LONG);
    let mut settled = None;
    let mut slowest = Duration::ZERO;
    for restart in 0..restarts {
        // In use when the daemon dies.
        let _alive = use_it(checks, &mut desk, restart)?;
        if restart == SETTLED {
            settled = Some((desk.daemon()?, desk.vmm()?));
        }
        desk.kill()?;
        desk.serve(&SERVE_ONE[1..])?;
        let began = Instant::now();
        let ran = desk.run(RECOVER)?;
        let said = format!("{}{}", ran.printed, ran.complaints);
        ensure!(ran.status == Some(0), "landbridge recover: {said}");
        slowest = slowest.max(began.elapsed());
    }
    // In use again, as it was when it was counted.
    let _alive = use_it(checks, &mut desk, restarts)?;
    checks.note(format!("at most {} ms a recovery", slowest.as_millis()));
    if let Some((daemon, vmm)) = settled {
        let now = (desk.daemon()?, desk.vmm()?);
        checks.note(format!("the daemon {daemon:?}, then {:?}", now.0));
        checks.note(format!("QEMU {vmm:?}, then {:?}", now.1));
        // Not the daemon's mappings: the guest's console is there again, in as
        // many parts as its pages happen to be.
        now.0.check_descriptors(checks, "the daemon", daemon);
        now.0.check_memory(checks, "the daemon", daemon, SLACK_KIB);
        let slack = SLACK_KIB + A_RESTART_KIB * u64::from(restarts);
        now.1.check_no_growth(checks, "QEMU", vmm);
        now.1.check_memory(checks, "QEMU", vmm, slack);
        checks.equal("QEMU is the same process", &now.1.pid, &vmm.pid);
    }
    Ok(())
}

/// Shows a picture and maps a blob.
fn use_it(checks: &mut Checks, desk: &mut Desk, restart: u32) -> Result<(Card, [Map; 2])> {
    let card = Card::open(0)?;
    let screen = card.screen(0)?;
    let (width, height) = screen.mode.size();
    let picture = Picture::new(width, height, restart);
    let made = card.blob(Blob::of_the_host(picture.bytes()))?;
    let memory = card.map(made)?;
    picture.draw(&memory);
    card.set(&screen, card.framebuffer(made.handle, picture)?)?;
    let difference = desk.difference(0, 0, picture)?;
    checks.equal(
        &format!("a picture after {restart} restarts"),
        &difference,
        &None,
    );
    let other = card.map(card.blob(Blob::of_the_host(PAGE as u64))?)?;
    other.set(0, 1);
    checks.equal("and a blob", &other.get(0), &1);
    Ok((card, [memory, other]))
}
