//! Host memory in the guest: mapped as the host maps it, shown without a copy,
//! known to other devices by a UUID, bracketed by SYNC as a dma-buf.

use std::fs::read_to_string;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::ONE_GPU;
use crate::scenario::{Expect, Scenario, Storey};
use crate::sys::dma_buf::{END, SYNC, Sync, WRITE};
use crate::sys::ioctl::ioctl;
use crate::sys::memory::{How, Map};
use crate::virtgpu::{
    Blob, CROSS_DEVICE, Card, GUEST, HOST3D, HOST3D_GUEST, MAPPABLE, Made, Picture, SHAREABLE,
    Screen,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_host_blob_is_the_same_bytes_on_both_sides",
    claim: "a host blob is mapped cached in the guest, shown without a copy, and has a UUID",
    storey: Storey::Guest,
    needs: ONE_GPU,
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    checks.answers("a context is made", card.context(), "ok");
    checks.answers("but not twice", card.context(), "EEXIST");
    let screen = card.screen(0)?;
    let (width, height) = screen.mode.size();
    let picture = Picture::new(width, height, 3);
    let made = card.blob(Blob {
        flags: MAPPABLE | SHAREABLE | CROSS_DEVICE,
        ..Blob::of_the_host(picture.bytes())
    })?;
    let memory = card.map(made)?;
    checks.equal(
        "the driver knows it as host memory",
        &card.info(made.handle)?,
        &(made.resource, HOST3D),
    );
    caching(checks, &mut desk, &card, made)?;
    shown_in_place(checks, &mut desk, &card, &screen, (made, &memory), picture)?;
    as_dma_buf(checks, &mut desk, &card, made, picture)?;
    other_kinds(checks, &mut desk, &card, &screen)
}

/// The entry of a resource in the status of device 0.
fn resource(status: &Value, id: u32) -> Value {
    let listed = status["devices"][0]["resources"].as_array();
    let mut listed = listed.into_iter().flatten();
    listed
        .find(|it| it["id"] == id)
        .cloned()
        .unwrap_or_default()
}

/// How the guest's own tables say that the CPU reaches the window.
fn caching(checks: &mut Checks, desk: &mut Desk, card: &Card, made: Made) -> Result<()> {
    let status = desk.status()?;
    let at = resource(&status, made.resource)["mapped_at"]
        .as_u64()
        .context("the blob is not mapped")?;
    let start = card.window()? + at;
    checks.holds(
        "the window is above 4 GiB",
        start >= 1 << 32,
        format!("{start:#x}"),
    );
    let list = read_to_string("/sys/kernel/debug/x86/pat_memtype_list")?;
    let ours = format!("[mem {:#018x}-{:#018x}]", start, start + made.size);
    let line = list.lines().find(|line| line.contains(&ours));
    checks.holds(
        "the guest's page tables reach it as write-back memory",
        line.is_some_and(|line| line.contains("write-back")),
        line.unwrap_or(&list),
    );
    Ok(())
}

/// Shows a blob, changes it, and sees each on the host, with nothing copied.
fn shown_in_place(
    checks: &mut Checks,
    desk: &mut Desk,
    card: &Card,
    screen: &Screen,
    (made, memory): (Made, &Map),
    picture: Picture,
) -> Result<()> {
    picture.draw(memory);
    let framebuffer = card.framebuffer(made.handle, picture)?;
    card.set(screen, framebuffer)?;
    // Asked only now: as long as the console is shown, it copies.
    let status = desk.status()?;
    let before = &status["copied_bytes"];
    let kind = resource(&status, made.resource)["kind"].clone();
    let difference = desk.difference(0, 0, picture)?;
    checks.equal(&format!("the host sees a {kind}"), &difference, &None);
    let next = Picture {
        number: picture.number + 100,
        ..picture
    };
    next.draw(memory);
    let difference = desk.screenshot(0, 0)?.difference(next);
    checks.equal("and what is written to it, at once", &difference, &None);
    let after = &desk.status()?["copied_bytes"];
    checks.equal("nothing was copied", after, before);
    card.remove_framebuffer(framebuffer)?;
    Ok(())
}

fn as_dma_buf(
    checks: &mut Checks,
    desk: &mut Desk,
    card: &Card,
    made: Made,
    picture: Picture,
) -> Result<()> {
    let uuid_of =
        |desk: &mut Desk, id| Ok::<_, anyhow::Error>(resource(&desk.status()?, id)["uuid"].clone());
    let private = card.blob(Blob::of_the_host(4096))?;
    let none = uuid_of(desk, private.resource)?;
    checks.equal(
        "a blob for this device alone has no UUID",
        &none,
        &Value::Null,
    );
    card.close(private.handle)?;
    let uuid = uuid_of(desk, made.resource)?;
    checks.holds("one for others has a UUID", uuid.is_string(), &uuid);
    let exported = card.export(made.handle)?;
    let again = card.export(made.handle)?;
    let same = uuid_of(desk, made.resource)?;
    checks.equal("and keeps it when it is exported, twice", &same, &uuid);
    checks.equal(
        "it is imported as itself",
        &card.import(&again)?,
        &made.handle,
    );
    let sync = |flags| ioctl(&exported, SYNC, &mut Sync { flags });
    checks.answers("CPU access begins", sync(WRITE), "ok");
    let map = Map::new(&exported, 0, usize::try_from(made.size)?, How::SHARED)?;
    let [red, green, blue] = Picture {
        number: picture.number + 100,
        ..picture
    }
    .pixel(5, 0);
    let bytes = [map.get(20), map.get(21), map.get(22)];
    checks.equal("the dma-buf has the bytes", &bytes, &[blue, green, red]);
    checks.answers("and ends", sync(WRITE | END), "ok");
    Ok(())
}

fn other_kinds(checks: &mut Checks, desk: &mut Desk, card: &Card, screen: &Screen) -> Result<()> {
    let (width, height) = screen.mode.size();
    for (memory, kind) in [(GUEST, "guest blob"), (HOST3D_GUEST, "shadowed blob")] {
        let picture = Picture::new(width, height, 10 + memory);
        let made = card.blob(Blob {
            memory,
            ..Blob::of_the_host(picture.bytes())
        })?;
        card.wait(made.handle)?;
        let found = resource(&desk.status()?, made.resource)["kind"].clone();
        checks.equal(
            "the device has the kind that was asked for",
            &found,
            &kind.into(),
        );
        if memory == GUEST {
            let memory = card.map(made)?;
            shown_in_place(checks, desk, card, screen, (made, &memory), picture)?;
        }
        card.close(made.handle)?;
    }
    Ok(())
}
