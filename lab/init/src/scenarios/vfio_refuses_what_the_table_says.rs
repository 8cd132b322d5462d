//! The row of the error table about VFIO's dma-bufs
//! (drivers/vfio/pci/vfio_pci_dmabuf.c).

use std::time::Duration;

use anyhow::Result;

use crate::checks::Checks;
use crate::exporters::{RAM_BAR, Region, VFIO_DEVICES, VFIO_MODULES};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::vfio::{DmaBufFeature, export};

const PAGE: u64 = 4096;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "vfio_refuses_what_the_table_says",
    claim: "every refusal of a VFIO dma-buf is the error that the table of facts has for it",
    storey: Storey::Host,
    needs: Needs {
        modules: VFIO_MODULES,
        devices: VFIO_DEVICES,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let device = Region::open()?.device;
    let bar = device.region_size(RAM_BAR)?;
    let range = |offset, length| DmaBufFeature::range(RAM_BAR, offset, length);
    let right = range(0, bar);
    for (what, feature, want) in [
        ("the whole BAR", right, "ok"),
        ("flags", DmaBufFeature { flags: 1, ..right }, "EINVAL"),
        (
            "no ranges",
            DmaBufFeature {
                nr_ranges: 0,
                ..right
            },
            "EINVAL",
        ),
        ("a range of nothing", range(0, 0), "EINVAL"),
        ("an offset that is no page's", range(1, PAGE), "EINVAL"),
        ("a length that is no page's", range(0, PAGE - 1), "EINVAL"),
        ("a range past the BAR", range(0, bar + PAGE), "EINVAL"),
        (
            "a region that is not there",
            DmaBufFeature {
                region: 200,
                ..right
            },
            "ENODEV",
        ),
        (
            "a range that overflows",
            range(u64::MAX - PAGE + 1, 2 * PAGE),
            "EOVERFLOW",
        ),
    ] {
        checks.answers(what, export(&device, feature), want);
    }
    let two = DmaBufFeature {
        nr_ranges: 2,
        ranges: [[PAGE, PAGE], [0, PAGE]],
        ..right
    };
    let size = rustix::fs::seek(export(&device, two)?, rustix::fs::SeekFrom::End(0))?;
    checks.equal(
        "two ranges, the later first, are their sum",
        &size,
        &(2 * PAGE),
    );
    Ok(())
}
