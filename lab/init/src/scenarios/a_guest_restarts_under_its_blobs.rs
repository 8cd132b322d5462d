//! A guest that restarts gives nothing back: its VMM stops the device and drops
//! the maps, and the next kernel finds a new device.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::boot::{Restart, restart};
use crate::checks::Checks;
use crate::desk::machine::ONE_GPU;
use crate::desk::{Desk, Held, buffers};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, Card};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_guest_restarts_under_its_blobs",
    claim: "after a restart, hard, orderly or by a panic, the GPU works again and holds nothing of before",
    storey: Storey::Guest,
    needs: Needs {
        restarts: true,
        ..ONE_GPU
    },
    limit: Duration::from_secs(120),
    expect: Expect::Passes,
    body,
};

const SHORT: u32 = 4;
const LONG: u32 = 30;

/// How many blobs are mapped when the guest restarts.
const BLOBS: usize = 20;

/// What the desk keeps in mind from one life to the next.
#[derive(Default, Serialize, Deserialize)]
struct Past {
    lives: u32,
    /// What the guest was charged for before it made anything.
    charges: Value,
    /// The buffers of the life before.
    buffers: Vec<u64>,
    /// What daemon and QEMU held at the start of the second life: the first
    /// fills pools.
    held: Option<(Held, Held)>,
}

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let mut past: Past = serde_json::from_value(desk.recall()?).unwrap_or_default();
    let card = Card::open(0)?;
    let (life, lives) = (past.lives, checks.rounds(SHORT, LONG));
    let status = desk.status_when(|status| {
        status["devices"][0]["maps"] == 0
            && !buffers(status).iter().any(|it| past.buffers.contains(it))
    })?;
    let charges = status["guests"][0]["charges"].clone();
    if life == 0 {
        past.charges = charges;
    } else {
        let stayed: Vec<u64> = buffers(&status);
        let stayed: Vec<_> = stayed
            .iter()
            .filter(|it| past.buffers.contains(it))
            .collect();
        checks.equal(
            &format!("life {life} has no buffer of before"),
            &stayed,
            &Vec::new(),
        );
        checks.equal("nor a map", &status["devices"][0]["maps"], &0.into());
        checks.equal("nor anything to pay for", &charges, &past.charges);
        let (daemon, vmm) = (desk.daemon()?, desk.vmm()?);
        match past.held {
            None => past.held = Some((daemon, vmm)),
            Some((before, vmm_before)) if life + 1 == lives => {
                daemon.check_no_growth(checks, "the daemon", before);
                vmm.check_no_growth(checks, "QEMU", vmm_before);
            }
            Some(_) => {}
        }
    }
    let _alive = use_it(checks, &mut desk, &card, life)?;
    if life + 1 == lives {
        return Ok(());
    }
    past.lives += 1;
    past.buffers = buffers(&desk.status()?);
    desk.remember(serde_json::to_value(&past)?)?;
    restart(match life % 3 {
        0 => Restart::Hard,
        1 => Restart::Panic,
        _ => Restart::Orderly,
    })
}

/// Shows a picture in a host blob, and maps more of them.
fn use_it(checks: &mut Checks, desk: &mut Desk, card: &Card, life: u32) -> Result<Vec<Map>> {
    let screen = card.screen(0)?;
    let shown = card.show(&screen, life)?;
    let difference = desk.difference(0, 0, shown.picture)?;
    checks.equal(
        &format!("life {life} shows its picture"),
        &difference,
        &None,
    );
    let mut maps = vec![shown.memory];
    for _ in 0..BLOBS {
        let made = card.blob(Blob::of_the_host(PAGE as u64))?;
        maps.push(card.map(made)?);
    }
    let mapped = desk.status()?["devices"][0]["maps"].clone();
    checks.equal("all blobs are in the window", &mapped, &maps.len().into());
    Ok(maps)
}
