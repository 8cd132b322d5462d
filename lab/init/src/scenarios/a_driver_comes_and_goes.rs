//! The guest's driver is taken from the device and given back: each life begins
//! and ends with nothing.
//!
//! No blob is mapped when it goes: QEMU 11.1.3 does not survive that.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{GPU, MODULE, ONE, PORT};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::virtgpu::{Blob, Card, Picture};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_driver_comes_and_goes",
    claim: "20 times unbound and bound again: it works each time, and nothing of it stays",
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

const LIVES: u32 = 20;

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let mut held = Vec::new();
    let began = Instant::now();
    for life in 0..LIVES {
        let card = Card::open(0)?;
        let screen = card.screen(0)?;
        let (width, height) = screen.mode.size();
        let picture = Picture::new(width, height, life);
        let made = card.blob(Blob::of_the_host(picture.bytes()))?;
        let memory = card.map(made)?;
        picture.draw(&memory);
        card.set(&screen, card.framebuffer(made.handle, picture)?)?;
        if life == 0 || life == LIVES - 1 {
            let difference = desk.screenshot(0, 0)?.difference(picture);
            checks.equal(
                &format!("life {life} shows its picture"),
                &difference,
                &None,
            );
        }
        let virtio = card.virtio().to_owned();
        // The console still shows its buffer when the driver goes.
        card.switch_off(&screen)?;
        drop((memory, card));
        desk.status_when(|status| status["devices"][0]["maps"] == 0)?;
        Card::unbind(&virtio)?;
        if life == 0 || life == LIVES - 1 {
            gone(checks, &mut desk)?;
            held.push(desk.daemon()?);
        }
        Card::bind(&virtio)?;
    }
    let took = began.elapsed() / LIVES;
    checks.note(format!("{} ms a life; {held:?}", took.as_millis()));
    checks.equal(
        "the daemon's descriptors and mappings",
        &held.last().map(|it| (it.descriptors, it.mappings)),
        &held.first().map(|it| (it.descriptors, it.mappings)),
    );
    Ok(())
}

fn gone(checks: &mut Checks, desk: &mut Desk) -> Result<()> {
    let empty = Value::Array(Vec::new());
    let status = desk.status_when(|status| status["buffers"] == empty)?;
    let device = &status["devices"][0];
    checks.equal("no resource is left", &device["resources"], &empty);
    checks.equal("nor a map", &device["maps"], &0.into());
    checks.equal("nor a buffer", &status["buffers"], &empty);
    checks.equal(
        "nor a picture",
        &device["scanouts"][0]["shows"],
        &Value::Null,
    );
    Ok(())
}
