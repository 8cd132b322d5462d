//! The daemon dies in the middle of a frame: the VM goes on, what it mapped
//! stays, and `landbridge recover` gives it the device back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::checks::Checks;
use crate::desk::machine::{GPU, LEAKS, ONE_GPU, PORT, QMP, RECOVER, SERVE_ONE};
use crate::desk::{Desk, Held};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, Card};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_vm_survives_its_daemon",
    claim: "the daemon is killed in mid-frame: the VM lives, keeps its maps, gets its device back",
    storey: Storey::Guest,
    needs: Needs {
        devices: &[PORT, GPU, QMP],
        alone: true,
        ..ONE_GPU
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

/// Frames that are shown before the daemon dies.
const FRAMES: u64 = 10;

/// How long a frame is shown.
const FRAME: Duration = Duration::from_millis(10);

/// Frames that a program draws before it notices that they are not shown. The
/// driver puts up to three commands in the queue for each, and the queue holds
/// 256: once it is full, the stock driver waits for room where nothing can wake
/// it, and the device can't be taken away any more.
const MORE_FRAMES: u64 = 20;

fn body(checks: &mut Checks) -> Result<()> {
    checks.excuse(LEAKS);
    let mut desk = Desk::open()?;
    let card = Arc::new(Card::open(0)?);
    // A map idles now, as one does at the end.
    let blob = card.blob(Blob::of_the_host(PAGE as u64))?;
    drop(card.map(blob)?);
    card.close(blob.handle)?;
    idles(&mut desk)?;
    let start = (desk.daemon()?, desk.vmm()?);
    let blob = card.blob(Blob::of_the_host(PAGE as u64))?;
    let memory = card.map(blob)?;
    memory.set(0, 1);
    let shown = kill_in_mid_frame(&mut desk, &card)?;
    checks.note(format!("{shown} frames were shown"));
    let status = desk.status().map(drop);
    checks.refused("nobody serves any more", status, "landbridge status");
    mapping_stays(checks, &memory);
    checks.equal("QEMU lives", &desk.vmm()?.pid, &start.1.pid);

    desk.serve(&SERVE_ONE[1..])?;
    let began = Instant::now();
    let ran = desk.run(RECOVER)?;
    let said = format!("landbridge recover: {}{}", ran.printed, ran.complaints);
    checks.equal(&said, &ran.status, &Some(0));
    checks.note(format!("recovered in {} ms", began.elapsed().as_millis()));
    drop((memory, card));
    let card = Card::open(0)?;
    shows(checks, &mut desk, &card)?;
    drop(card);
    nothing_is_left(checks, &mut desk, start)
}

/// Has the daemon killed while frames are drawn, and says how many were.
fn kill_in_mid_frame(desk: &mut Desk, card: &Arc<Card>) -> Result<u64> {
    let screen = card.screen(0)?;
    let framebuffers = [
        card.dumb_picture(&screen, 1)?.0,
        card.dumb_picture(&screen, 2)?.0,
    ];
    card.set(&screen, framebuffers[0])?;
    let (drawn, dead) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
    let frames = std::thread::spawn({
        let (card, drawn, dead) = (Arc::clone(card), Arc::clone(&drawn), Arc::clone(&dead));
        move || {
            let mut more = MORE_FRAMES;
            for number in 1.. {
                more -= u64::from(dead.load(Ordering::Relaxed));
                let next = framebuffers[number as usize % 2];
                if more == 0 || card.flip(&screen, next, number).is_err() {
                    return;
                }
                drawn.store(number, Ordering::Relaxed);
                std::thread::sleep(FRAME);
            }
        }
    });
    let start = Instant::now();
    while drawn.load(Ordering::Relaxed) < FRAMES {
        ensure!(start.elapsed() < Duration::from_secs(10), "no frames");
        std::thread::sleep(Duration::from_millis(1));
    }
    desk.kill()?;
    dead.store(true, Ordering::Relaxed);
    frames.join().map_err(|_| anyhow!("drawing frames"))?;
    Ok(drawn.load(Ordering::Relaxed))
}

fn mapping_stays(checks: &mut Checks, memory: &Map) {
    checks.equal("what was mapped can be read", &memory.get(0), &1);
    memory.set(PAGE - 1, 2);
    checks.equal("and written", &memory.get(PAGE - 1), &2);
}

/// The device is a new one, and works.
fn shows(checks: &mut Checks, desk: &mut Desk, card: &Card) -> Result<()> {
    let screen = card.screen(0)?;
    let shown = card.show(&screen, 3)?;
    let difference = desk.difference(0, 0, shown.picture)?;
    checks.equal("the guest shows pictures again", &difference, &None);
    let status = desk.status()?;
    checks.equal(
        "of this VM",
        &status["devices"][0]["connections"],
        &1.into(),
    );
    card.remove_framebuffer(shown.framebuffer)?;
    drop(shown.memory);
    card.close(shown.made.handle)?;
    Ok(())
}

/// Waits until all maps are idle: one, for the next blob.
fn idles(desk: &mut Desk) -> Result<()> {
    desk.status_when(|it| {
        let device = &it["devices"][0];
        device["maps"] == 0 && device["idle_maps"] == 1
    })?;
    Ok(())
}

fn nothing_is_left(checks: &mut Checks, desk: &mut Desk, start: (Held, Held)) -> Result<()> {
    idles(desk)?;
    let end = (desk.daemon()?, desk.vmm()?);
    checks.note(format!("daemon {:?}, then {:?}", start.0, end.0));
    checks.note(format!("QEMU {:?}, then {:?}", start.1, end.1));
    end.0
        .check_descriptors(checks, "the second daemon", start.0);
    end.1.check_descriptors(checks, "QEMU", start.1);
    Ok(())
}
