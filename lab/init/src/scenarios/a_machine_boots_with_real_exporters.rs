//! The lab's own first claim: the kernel is the one that the facts are about,
//! and its exporters are there.

use std::path::Path;
use std::time::Duration;

use crate::checks::Checks;
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};

/// The declaration.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_machine_boots_with_real_exporters",
    claim: "a stock kernel boots with udmabuf, a heap, vgem, vivid and virtio-gpu in it",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", "vivid", "virtio-gpu"],
        devices: &[Device::VIRTIO_GPU],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> anyhow::Result<()> {
    for path in [
        "/dev/udmabuf",
        "/dev/dma_heap/system",
        "/dev/dri/card0",
        "/dev/dri/card1",
        "/dev/video0",
    ] {
        let there = Path::new(path).exists();
        checks.holds(&format!("{path} is there"), there, there);
    }
    Ok(())
}
