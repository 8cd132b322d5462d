//! Many blobs: what a session of a desktop holds at a time, and the limit
//! beyond which QEMU would not survive.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK, ONE_GPU, SERVE_FEW_MAPS, serving};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, Card, Made};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "hundreds_of_blobs_live_at_once_and_leave_nothing",
    claim: "300 blobs are mapped at once; past the limit the guest gets an error; nothing is left",
    storey: Storey::Guest,
    needs: Needs {
        beside: &[serving(SERVE_FEW_MAPS), DESK],
        ..ONE_GPU
    },
    limit: Duration::from_secs(90),
    expect: Expect::Passes,
    body,
};

/// As many as must be possible.
const AT_ONCE: usize = 300;
/// Where this `landbridge serve` stops. By itself it stops at 500; QEMU dies
/// past 511.
const LIMIT: usize = 320;

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    // What stays in the window for the next blobs is there from the start.
    let few = [mapped(&card, 0)?, mapped(&card, 1)?];
    few.into_iter().try_for_each(|blob| close(&card, blob))?;
    let start = desk.status_when(|status| status["devices"][0]["idle_maps"] == 2)?;
    let held = desk.daemon()?;
    let mut blobs = Vec::new();
    let began = Instant::now();
    while blobs.len() < AT_ONCE {
        blobs.push(mapped(&card, blobs.len())?);
    }
    checks.note(format!("300 blobs in {} ms", began.elapsed().as_millis()));
    let wrong = wrong(&blobs);
    checks.equal("300 blobs each have their own bytes", &wrong, &Vec::new());
    let maps = desk.status()?["devices"][0]["maps"].clone();
    checks.equal("all are in the window", &maps, &AT_ONCE.into());
    while blobs.len() < LIMIT {
        blobs.push(mapped(&card, blobs.len())?);
    }
    let excess = card.blob(Blob::of_the_host(PAGE as u64))?;
    checks.answers("one past the limit is refused", card.map(excess), "EINVAL");
    card.close(excess.handle)?;
    checks.equal(
        "the others are untouched",
        &self::wrong(&blobs),
        &Vec::new(),
    );
    close(&card, blobs.swap_remove(7))?;
    // The device hears of it a little later than the next request.
    desk.status_when(|status| status["devices"][0]["maps"] == LIMIT - 1)?;
    blobs.push(mapped(&card, 7)?);
    checks.holds("one fewer makes room for another", true, "mapped");
    blobs.drain(..).try_for_each(|blob| close(&card, blob))?;
    nothing_left(checks, &mut desk, &start)?;
    desk.daemon()?.check_descriptors(checks, "the daemon", held);
    Ok(())
}

fn mapped(card: &Card, number: usize) -> Result<(Made, Map)> {
    let made = card.blob(Blob::of_the_host(PAGE as u64))?;
    let map = card.map(made)?;
    map.set(0, number as u8);
    map.set(PAGE - 1, (number >> 8) as u8);
    Ok((made, map))
}

fn close(card: &Card, (made, map): (Made, Map)) -> Result<()> {
    drop(map);
    Ok(card.close(made.handle)?)
}

/// The blobs that don't hold what was written to them, and what they hold.
fn wrong(blobs: &[(Made, Map)]) -> Vec<(usize, u8, u8)> {
    let held = |(_, map): &(Made, Map)| (map.get(0), map.get(PAGE - 1));
    let held = blobs.iter().map(held).enumerate();
    held.filter(|(number, held)| *held != (*number as u8, (*number >> 8) as u8))
        .map(|(number, (first, last))| (number, first, last))
        .collect()
}

fn nothing_left(checks: &mut Checks, desk: &mut Desk, start: &Value) -> Result<()> {
    let resources = |status: &Value| status["devices"][0]["resources"].clone();
    let end = desk.status_when(|status| resources(status) == resources(start))?;
    for key in [
        "resources",
        "maps",
        "idle_maps",
        "waiting",
        "fences_outstanding",
    ] {
        let of = |status: &Value| status["devices"][0][key].clone();
        checks.equal(&format!("{key} are as at the start"), &of(&end), &of(start));
    }
    let of = |status: &Value| status["guests"][0]["charges"].clone();
    checks.equal("charges are as at the start", &of(&end), &of(start));
    Ok(())
}
