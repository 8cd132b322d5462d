//! A GPU is taken out of a running VM and put in again, while a program has a
//! blob of it on the screen and without.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{GPU, ONE_GPU, PORT, QMP};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::virtgpu::{Card, TAKEDOWN};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_gpu_is_unplugged_and_plugged_in_again",
    claim: "a GPU leaves a running VM with nothing of it held, and works when it comes back",
    storey: Storey::Guest,
    needs: Needs {
        devices: &[PORT, GPU, QMP],
        ..ONE_GPU
    },
    limit: Duration::from_secs(90),
    expect: Expect::Passes,
    body,
};

const SHORT: u32 = 2;
const LONG: u32 = 20;

/// Linux waits five seconds after the button was pressed.
const PATIENCE: Duration = Duration::from_secs(15);

fn body(checks: &mut Checks) -> Result<()> {
    checks.excuse(&[TAKEDOWN]);
    let mut desk = Desk::open()?;
    let lives = checks.rounds(SHORT, LONG);
    let mut held = None;
    for life in 0..lives {
        let card = Card::open(0)?;
        let screen = card.screen(0)?;
        let shown = card.show(&screen, life)?;
        let difference = desk.difference(0, 0, shown.picture)?;
        checks.equal(
            &format!("life {life} shows its picture"),
            &difference,
            &None,
        );
        unplug(&mut desk)?;
        let left = desk.left()?;
        checks.equal(&format!("life {life} leaves nothing"), &left, &Vec::new());
        drop((shown, card));
        if life == 0 {
            held = Some((desk.daemon()?, desk.vmm()?));
        } else if let Some((daemon, vmm)) = held
            && life + 1 == lives
        {
            desk.daemon()?.check_no_growth(checks, "the daemon", daemon);
            desk.vmm()?.check_no_growth(checks, "QEMU", vmm);
        }
        plug(&mut desk)?;
    }
    let card = Card::open(0)?;
    checks.holds("the last one is there", true, card.virtio());
    Ok(())
}

fn unplug(desk: &mut Desk) -> Result<()> {
    desk.qmp("device_del", json!({ "id": "landbridge-gpu0" }))?;
    // The device's connection is the character device's, which stays, and is
    // busy until QEMU has done with the device: a little after the guest has.
    let start = std::time::Instant::now();
    while let Err(error) = desk.qmp("chardev-remove", json!({ "id": "landbridge-char0" })) {
        if start.elapsed() > PATIENCE {
            return Err(error.context("the guest does not let go of the GPU"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = desk.status_when(|status| status["devices"][0]["connected"] == false)?;
    if status["devices"][0]["connected"] != false {
        bail!("QEMU stays connected");
    }
    Ok(())
}

/// As the machine was made.
fn plug(desk: &mut Desk) -> Result<()> {
    let backend = json!({ "type": "socket", "data": {
        "addr": { "type": "unix", "data": { "path": "{run}/gpu0" } },
        "server": false,
    }});
    let chardev = json!({ "id": "landbridge-char0", "backend": backend });
    desk.qmp("chardev-add", chardev)?;
    let device = json!({
        "driver": "vhost-user-test-device-pci", "id": "landbridge-gpu0",
        "chardev": "landbridge-char0", "bus": "landbridge-port0",
        "virtio-id": 16, "num_vqs": 2, "vq_size": 256, "config_size": 24,
    });
    desk.qmp("device_add", device)?;
    Ok(())
}
