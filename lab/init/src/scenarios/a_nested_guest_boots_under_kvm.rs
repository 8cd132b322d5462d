//! The upper storey: a stock guest under KVM inside the emulated machine.

use std::fs::read_to_string;
use std::time::Duration;

use crate::checks::Checks;
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_nested_guest_boots_under_kvm",
    claim: "a stock guest boots under real KVM in the emulated machine and loads virtio-gpu",
    storey: Storey::Nested,
    needs: Needs {
        modules: &["virtio-gpu"],
        devices: &[Device::VIRTIO_GPU],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

const CLOCKS: &str = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
const CARD: &str = "/sys/class/drm/card0";
const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_gpu";

fn body(checks: &mut Checks) -> anyhow::Result<()> {
    // Only a guest that KVM runs is offered its clock.
    let clocks = read_to_string(CLOCKS)?;
    checks.holds(
        "KVM runs this guest",
        clocks.contains("kvm-clock"),
        clocks.trim(),
    );
    let card = std::fs::canonicalize(CARD)?;
    let driven = std::fs::read_dir(DRIVER)?
        .flatten()
        .filter_map(|entry| entry.path().canonicalize().ok())
        .any(|device| {
            device
                .parent()
                .is_some_and(|parent| card.starts_with(parent))
        });
    checks.holds("virtio-gpu drives the display", driven, card.display());
    Ok(())
}
