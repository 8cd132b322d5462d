//! The first thing that a user does: a guest as it ships finds our device, and
//! what it draws is what the host sees.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{GPU, ONE_GPU, SERVE_ONE};
use crate::scenario::{Expect, Scenario, Storey};
use crate::virtgpu::{Card, Param, Picture};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_stock_guest_shows_a_picture_on_our_device",
    claim: "a stock guest sets a mode on our device; a screenshot of the host is the picture",
    storey: Storey::Guest,
    needs: ONE_GPU,
    limit: Duration::from_secs(20),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    arguments_are_as_printed(checks, &mut desk)?;
    let card = Card::open(0)?;
    for param in [Param::ThreeD, Param::Blob, Param::HostVisible] {
        checks.equal(&format!("the guest has {param:?}"), &card.param(param)?, &1);
    }
    checks.equal("the device is connected", &connected(&mut desk)?, &true);
    show(checks, &mut desk, &card)
}

/// The machine is what a user gets who follows the manual.
fn arguments_are_as_printed(checks: &mut Checks, desk: &mut Desk) -> Result<()> {
    let qemu = desk.pretend_qemu()?;
    let folder = qemu.strip_suffix("/qemu").context("no folder")?.to_owned();
    let mut arguments = SERVE_ONE.to_vec();
    arguments.extend(["--print-qemu-args", "--qemu", &qemu]);
    let ran = desk.run(&arguments)?;
    let used: Vec<String> = GPU
        .args
        .iter()
        .map(|argument| argument.replace("{run}", &folder))
        .collect();
    checks.holds(
        "the machine has the arguments that landbridge prints",
        ran.printed.trim() == used.join(" "),
        format!("{}{}", ran.printed, ran.complaints),
    );
    Ok(())
}

fn connected(desk: &mut Desk) -> Result<bool> {
    Ok(desk.status()?["devices"][0]["connected"] == true)
}

fn show(checks: &mut Checks, desk: &mut Desk, card: &Card) -> Result<()> {
    let screen = card.screen(0)?;
    let (width, height) = screen.mode.size();
    checks.equal(
        "the display asks for its mode",
        &(width, height),
        &(640, 480),
    );
    let (made, pitch, memory) = card.dumb(width, height)?;
    let picture = Picture {
        pitch,
        ..Picture::new(width, height, 1)
    };
    picture.draw(&memory);
    let framebuffer = card.framebuffer(made.handle, picture)?;
    card.set(&screen, framebuffer)?;
    let difference = desk.difference(0, 0, picture)?;
    checks.equal("the host sees the picture", &difference, &None);
    status(checks, desk, made.resource, picture)?;
    let second = Picture {
        number: 2,
        ..picture
    };
    second.draw(&memory);
    card.dirty(framebuffer)?;
    let difference = desk.screenshot(0, 0)?.difference(second);
    checks.equal("and the next one", &difference, &None);
    Ok(())
}

fn status(checks: &mut Checks, desk: &mut Desk, resource: u32, picture: Picture) -> Result<()> {
    let status = desk.status()?;
    let device = &status["devices"][0];
    let listed = device["resources"].as_array().context("no resources")?;
    let found = listed.iter().find(|it| it["id"] == resource);
    checks.equal(
        "the status lists the resource",
        &found.map(|it| it["size"].clone()),
        &Some(picture.bytes().into()),
    );
    let shows = &device["scanouts"][0]["shows"];
    checks.holds(
        "and the scanout that shows it",
        shows["resource"] == resource
            && shows["width"] == picture.width
            && shows["height"] == picture.height
            && shows["stride"] == picture.pitch,
        shows,
    );
    checks.note(format!("copied bytes: {}", status["copied_bytes"]));
    Ok(())
}
