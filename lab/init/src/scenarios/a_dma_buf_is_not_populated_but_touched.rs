//! Trap: exporters that fill their mappings on faults can't be populated with
//! `madvise`.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::{Access, DmaBuf, Mapping};

use crate::checks::Checks;
use crate::exporters::{self, Dumb, Exporter, OverMemfd, SystemHeap};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::answer;
use crate::sys::memory::{How, Map};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_dma_buf_is_not_populated_but_touched",
    claim: "madvise can't populate a mapped dma-buf; a touch can, and is what our mappings do",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem"],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    one(checks, &OverMemfd::small()?)?;
    one(checks, &Dumb::of("vgem", "vgem")?)?;
    one(checks, &SystemHeap::open()?)
}

fn one(checks: &mut Checks, exporter: &dyn Exporter) -> Result<()> {
    let name = exporter.name();
    let buffer = exporter.export(64 << 10, exporters::Access::ReadWrite)?;
    let map = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
    checks.equal(
        &format!("{name}: the kernel refuses to populate it"),
        &answer(map.populate()).as_str(),
        &"EINVAL",
    );
    let ours = DmaBuf::try_from(buffer.as_fd().try_clone_to_owned()?)?;
    let mapping = Mapping::whole(&ours, Access::ReadWrite)?;
    mapping.view().fill(0, mapping.len(), 0x5a)?;
    let last = map.get(buffer.bytes() - 1);
    checks.equal(
        &format!("{name}: our mapping reaches every page"),
        &last,
        &0x5a,
    );
    Ok(())
}
