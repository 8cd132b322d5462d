//! The VM is paused and goes on (`virsh suspend`, or a snapshot): QEMU tells its
//! devices the same as when a driver leaves, and yet nothing may be lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{GPU, ONE_GPU, PORT, QMP};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, Card, Flips};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_paused_vm_goes_on_where_it_was",
    claim: "a VM that is paused keeps its picture and blobs, and flips on when it goes on",
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

const SHORT: u32 = 3;
const LONG: u32 = 100;

/// How long the VM is paused.
const PAUSE: Duration = Duration::from_millis(300);

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Arc::new(Card::open(0)?);
    let memory = card.map(card.blob(Blob::of_the_host(2 * PAGE as u64))?)?;
    let flips = Flips::start(Arc::clone(&card))?;
    checks.equal("frames are shown", &flips.go_on(), &true);
    let mut settled = None;
    let rounds = checks.rounds(SHORT, LONG);
    for round in 0..rounds {
        memory.set(0, round as u8);
        memory.set(2 * PAGE - 1, !round as u8);
        let before = desk.status()?;
        let (shot, during) = desk.pause(PAUSE)?;
        let known = flips.pictures.iter();
        let shown = known.filter(|picture| shot.difference(**picture).is_none());
        checks.equal("a picture is shown in the pause", &shown.count(), &1);
        for status in [during, desk.status()?] {
            checks.equal(
                "its resources stay",
                &resources(&status),
                &resources(&before),
            );
            let maps = |of: &Value| of["devices"][0]["maps"].clone();
            checks.equal("and its maps", &maps(&status), &maps(&before));
        }
        let kept = (memory.get(0), memory.get(2 * PAGE - 1));
        checks.equal("the blob's bytes stay", &kept, &(round as u8, !round as u8));
        checks.equal("frames are shown again", &flips.go_on(), &true);
        let fresh = card.blob(Blob::of_the_host(PAGE as u64))?;
        let map: Map = card.map(fresh)?;
        map.set(0, 1);
        drop(map);
        card.close(fresh.handle)?;
        if round == 0 {
            settled = Some((desk.daemon()?, desk.vmm()?));
        }
    }
    let picture = flips.end()?;
    let difference = desk.difference(0, 0, picture)?;
    checks.equal("the last picture is right", &difference, &None);
    if let Some((daemon, vmm)) = settled {
        desk.daemon()?.check_no_growth(checks, "the daemon", daemon);
        desk.vmm()?.check_no_growth(checks, "QEMU", vmm);
    }
    Ok(())
}

/// The resources by their ids.
fn resources(status: &Value) -> Vec<u64> {
    let resources = status["devices"][0]["resources"].as_array();
    let ids = resources.into_iter().flatten().map(|it| it["id"].as_u64());
    let mut ids: Vec<u64> = ids.flatten().collect();
    ids.sort_unstable();
    ids
}
