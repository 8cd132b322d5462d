//! Buffers of the guest's other devices, imported by a GPU without VIRGL: they
//! arrive as the guest's pages and are shown from there.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK, GPU, MODULE, PORT, SERVE_IMPORTING, serving};
use crate::exporters::{Access, Dumb, Exporter, OverMemfd, VIVID_MODULE, Vivid};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::{How, Map};
use crate::virtgpu::{Card, Param, Picture, Screen};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "foreign_buffers_are_shown_in_place",
    claim: "udmabuf, a camera's and another GPU's buffers are imported and shown without a copy",
    storey: Storey::Guest,
    needs: Needs {
        modules: &[MODULE, VIVID_MODULE, "vgem"],
        devices: &[PORT, GPU],
        beside: &[serving(SERVE_IMPORTING), DESK],
        qemu: (11, 1),
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    checks.equal("the guest has no 3D", &card.param(Param::ThreeD)?, &0);
    let screen = card.screen(0)?;
    let exporters: Vec<Box<dyn Exporter>> = vec![
        Box::new(OverMemfd::small()?),
        Box::new(Vivid::vmalloc()?),
        Box::new(Vivid::contiguous()?),
        Box::new(Dumb::of("vgem", "vgem")?),
    ];
    let resources = |status: &Value| status["devices"][0]["resources"].clone();
    for (number, exporter) in exporters.iter().enumerate() {
        let start = desk.status()?;
        show(
            checks,
            &mut desk,
            (&card, &screen),
            exporter.as_ref(),
            number as u32,
        )?;
        let end = desk.status_when(|status| resources(status) == resources(&start))?;
        checks.equal(
            "nothing of it is left",
            &(resources(&end), end["buffers"].clone()),
            &(resources(&start), start["buffers"].clone()),
        );
    }
    Ok(())
}

fn show(
    checks: &mut Checks,
    desk: &mut Desk,
    (card, screen): (&Card, &Screen),
    exporter: &dyn Exporter,
    number: u32,
) -> Result<()> {
    let name = exporter.name();
    let (width, height) = screen.mode.size();
    let picture = Picture::new(width, height, number);
    let foreign = exporter
        .export(picture.bytes().next_multiple_of(4096), Access::ReadWrite)
        .map_err(|refused| anyhow!("{name}: {refused}"))?;
    let memory = Map::new(&foreign, 0, foreign.bytes(), How::SHARED)?;
    picture.draw(&memory);
    let handle = card.import(&foreign)?;
    let framebuffer = card.framebuffer(handle, picture)?;
    card.set(screen, framebuffer)?;
    // Asked only now: as long as the console is shown, it copies.
    let before = desk.status()?["copied_bytes"].clone();
    let difference = desk.difference(0, 0, picture)?;
    checks.equal(
        &format!("the host sees {name}'s buffer"),
        &difference,
        &None,
    );
    let next = Picture {
        number: number + 50,
        ..picture
    };
    next.draw(&memory);
    let difference = desk.screenshot(0, 0)?.difference(next);
    checks.equal("and what is written to it, at once", &difference, &None);
    let status = desk.status()?;
    checks.equal("nothing was copied", &status["copied_bytes"], &before);
    let (resource, _) = card.info(handle)?;
    let listed = status["devices"][0]["resources"].as_array();
    let found = listed.into_iter().flatten().find(|it| it["id"] == resource);
    checks.note(format!("{name}: {}", found.unwrap_or(&Value::Null)));
    card.switch_off(screen)?;
    card.remove_framebuffer(framebuffer)?;
    card.close(handle)?;
    Ok(())
}
