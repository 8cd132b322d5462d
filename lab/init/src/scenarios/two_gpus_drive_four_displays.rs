//! Displays: what each says of itself, page flips, cursors; two GPUs in one VM
//! that don't mix anything up.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK, GPU, ONE_GPU, PORT, SECOND_GPU, SERVE_TWO, serving};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::Map;
use crate::virtgpu::{Blob, Card, Picture, Screen};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two_gpus_drive_four_displays",
    claim: "two GPUs with two outputs each: EDIDs, modes, page flips and cursors are right",
    storey: Storey::Guest,
    needs: Needs {
        devices: &[PORT, GPU, SECOND_GPU],
        beside: &[serving(SERVE_TWO), DESK],
        ..ONE_GPU
    },
    limit: Duration::from_secs(40),
    expect: Expect::Passes,
    body,
};

/// What [`SERVE_TWO`] asks for.
const OUTPUTS: [(u32, u32); 2] = [(640, 480), (800, 600)];

/// Flips of one output.
const FLIPS: u32 = 30;

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let cards = [Card::open(0)?, Card::open(1)?];
    for card in &cards {
        displays(checks, card)?;
    }
    let mut shown = Vec::new();
    for (device, card) in cards.iter().enumerate() {
        for output in 0..OUTPUTS.len() {
            let number = (device * OUTPUTS.len() + output) as u32;
            shown.push((device, output, show(card, output, number)?));
        }
    }
    for (device, output, picture) in &shown {
        let difference = desk.difference(*device, *output as u32, *picture)?;
        checks.equal(
            &format!("GPU {device}, output {output}"),
            &difference,
            &None,
        );
    }
    flips(checks, &mut desk, &cards[1])?;
    cursor(checks, &mut desk, &cards[0])?;
    let (device, output, picture) = shown[0];
    let difference = desk.difference(device, output as u32, picture)?;
    checks.equal("the first GPU shows its picture still", &difference, &None);
    Ok(())
}

fn displays(checks: &mut Checks, card: &Card) -> Result<()> {
    let connectors = card.connectors()?;
    checks.equal("outputs", &connectors.len(), &OUTPUTS.len());
    for (index, (connector, size)) in connectors.iter().zip(OUTPUTS).enumerate() {
        checks.equal("a display is connected", &connector.connected, &true);
        checks.equal("its mode", &connector.preferred()?.size(), &size);
        let edid = &connector.edid;
        let sum = edid.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        checks.equal("its EDID is a whole block", &(edid.len(), sum), &(128, 0));
        let name = format!("Landbridge {}", index + 1);
        checks.holds(
            "with the name that we gave it",
            edid.windows(name.len()).any(|part| part == name.as_bytes()),
            &name,
        );
        // Bytes 54 on are the first detailed timing; the upper four bits of
        // width and height are in its bytes 4 and 7.
        let timing = edid.get(54..72).context("no timing")?;
        let wide = u32::from(timing[2]) | u32::from(timing[4] >> 4) << 8;
        let high = u32::from(timing[5]) | u32::from(timing[7] >> 4) << 8;
        checks.equal("and its size", &(wide, high), &size);
    }
    Ok(())
}

/// Shows a picture from a dumb buffer.
fn show(card: &Card, output: usize, number: u32) -> Result<Picture> {
    let screen = card.screen(output)?;
    let (framebuffer, picture) = card.dumb_picture(&screen, number)?;
    card.set(&screen, framebuffer)?;
    Ok(picture)
}

/// Two host blobs take turns on an output.
fn flips(checks: &mut Checks, desk: &mut Desk, card: &Card) -> Result<()> {
    let screen = card.screen(0)?;
    let pages = [page(card, &screen, 50)?, page(card, &screen, 51)?];
    let before = desk.status()?;
    for turn in 0..FLIPS {
        let (framebuffer, _, _) = &pages[turn as usize % 2];
        card.flip(&screen, *framebuffer, turn.into())?;
    }
    let (_, picture, _) = &pages[(FLIPS as usize - 1) % 2];
    let difference = desk.difference(1, 0, *picture)?;
    checks.equal("the last page is shown", &difference, &None);
    let (framebuffer, picture, _) = &pages[FLIPS as usize % 2];
    card.flip(&screen, *framebuffer, FLIPS.into())?;
    let difference = desk.difference(1, 0, *picture)?;
    checks.equal("and the next one", &difference, &None);
    let after = desk.status()?;
    let flushes = |status: &serde_json::Value| status["devices"][1]["counters"]["flushes"].as_u64();
    checks.holds(
        "every page was shown",
        flushes(&after) >= flushes(&before).map(|before| before + u64::from(FLIPS) + 1),
        format!("{:?}, then {:?}", flushes(&before), flushes(&after)),
    );
    checks.equal(
        "and none was copied",
        &after["copied_bytes"],
        &before["copied_bytes"],
    );
    Ok(())
}

fn page(card: &Card, screen: &Screen, number: u32) -> Result<(u32, Picture, Map)> {
    let (width, height) = screen.mode.size();
    let picture = Picture::new(width, height, number);
    let made = card.blob(Blob::of_the_host(picture.bytes()))?;
    let memory = card.map(made)?;
    picture.draw(&memory);
    Ok((card.framebuffer(made.handle, picture)?, picture, memory))
}

fn cursor(checks: &mut Checks, desk: &mut Desk, card: &Card) -> Result<()> {
    let screen = card.screen(0)?;
    let (made, pitch, memory) = card.dumb(64, 64)?;
    Picture {
        pitch,
        ..Picture::new(64, 64, 60)
    }
    .draw(&memory);
    card.show_cursor(screen.crtc, made.handle)?;
    card.move_cursor(screen.crtc, 123, 45)?;
    for (what, want) in [
        ("is where it was moved", json!([123, 45])),
        ("is hidden", json!(null)),
    ] {
        let place =
            |status: &serde_json::Value| status["devices"][0]["scanouts"][0]["cursor"].clone();
        let status = desk.status_when(|status| place(status) == want)?;
        checks.equal(&format!("the cursor {what}"), &place(&status), &want);
        card.show_cursor(screen.crtc, 0)?;
    }
    Ok(())
}
