//! The guest's driver is taken from the device and given back: each life begins
//! and ends with nothing.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::checks::Checks;
use crate::desk::machine::ONE_GPU;
use crate::desk::{Desk, buffers};
use crate::scenario::{Expect, Scenario, Storey};
use crate::virtgpu::{Card, TAKEDOWN};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_driver_comes_and_goes",
    claim: "unbound and bound again and again, a driver works each time, and leaves nothing",
    storey: Storey::Guest,
    needs: ONE_GPU,
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

/// What is held is compared from this life on.
const SETTLED: u32 = 2;
/// What an allocator may keep.
const SLACK_KIB: u64 = 2048;
const SHORT: u32 = 6;
const LONG: u32 = 200;

fn body(checks: &mut Checks) -> Result<()> {
    checks.excuse(&[TAKEDOWN]);
    let mut desk = Desk::open()?;
    let lives = checks.rounds(SHORT, LONG);
    let mut settled = None;
    let began = Instant::now();
    for life in 0..lives {
        let virtio = live_once(checks, &mut desk, life)?;
        let before = buffers(&desk.status()?);
        Card::unbind(&virtio)?;
        if life == SETTLED {
            settled = Some((desk.daemon()?, desk.vmm()?));
        }
        // Only now it shows that the driver left, and the VM was not just paused.
        if life + 1 < lives {
            Card::bind(&virtio)?;
            let stayed = desk.stayed(&before)?;
            checks.equal(&format!("life {life} leaves nothing"), &stayed, &Vec::new());
        }
    }
    let took = began.elapsed() / lives;
    checks.note(format!("{} ms a life", took.as_millis()));
    if let Some((daemon, vmm)) = settled {
        let daemon_after = desk.daemon()?;
        // Not mappings: the console of the last driver is still there, in as many
        // parts as its pages happen to be.
        daemon_after.check_descriptors(checks, "the daemon", daemon);
        daemon_after.check_memory(checks, "the daemon", daemon, SLACK_KIB);
        desk.vmm()?.check_no_growth(checks, "QEMU", vmm);
    }
    Ok(())
}

fn live_once(checks: &mut Checks, desk: &mut Desk, life: u32) -> Result<String> {
    let card = Card::open(0)?;
    let screen = card.screen(0)?;
    let shown = card.show(&screen, life)?;
    let difference = desk.difference(0, 0, shown.picture)?;
    if difference.is_some() {
        let scanout = desk.status()?["devices"][0]["scanouts"][0].clone();
        let reads: Vec<u8> = (0..4).map(|at| shown.memory.get(at)).collect();
        checks.note(format!(
            "life {life}: {:?} reads {reads:?}, and {scanout}",
            shown.made
        ));
    }
    checks.equal(
        &format!("life {life} shows its picture"),
        &difference,
        &None,
    );
    let virtio = card.virtio().to_owned();
    card.switch_off(&screen)?;
    let resource = shown.made.resource;
    drop((shown, card));
    // A driver that has not heard the device's answer when it is taken away never
    // hears it, and warns of what it then misses.
    desk.status_when(|status| {
        let resources = status["devices"][0]["resources"].as_array();
        resources.is_some_and(|all| all.iter().all(|it| it["id"] != resource))
    })?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(virtio)
}
