//! Trap: the access mode of an object's first PRIME export sticks.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::{Access, DmaBuf, Mapping};

use crate::checks::Checks;
use crate::exporters::{self, Dumb, Exporter as _};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::answer;
use crate::sys::memory::{How, Map};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "the_first_prime_export_decides_who_may_write",
    claim: "an object exported read-only once stays so, and our error says that it is the exporter's doing",
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
    let vgem = Dumb::of("vgem", "vgem")?;
    let first = vgem.export(64 << 10, exporters::Access::ReadOnly)?;
    let again = first.again(exporters::Access::ReadWrite)?;
    let written = Map::new(&again, 0, first.bytes(), How::SHARED);
    checks.equal(
        "the kernel refuses to map the second export for writing",
        &answer(written).as_str(),
        &"EACCES",
    );
    let fresh = vgem.export(64 << 10, exporters::Access::ReadWrite)?;
    let reduced = fresh.again(exporters::Access::ReadOnly)?;
    let written = Map::new(&reduced, 0, fresh.bytes(), How::SHARED);
    checks.equal(
        "the other way round it sticks too",
        &answer(written).as_str(),
        &"ok",
    );

    let ours = DmaBuf::try_from(again)?;
    let errno = Mapping::whole(&ours, Access::ReadWrite)
        .err()
        .and_then(|error| error.errno());
    checks.equal(
        "our mapping is refused and names the error",
        &errno,
        &Some(libc::EACCES),
    );
    let mapping = Mapping::whole(&ours, Access::ReadOnly)?;
    checks.refused(
        "our read-only mapping can't be written, without a signal",
        mapping.view().write_at(0, 1_u8),
        "read-only",
    );
    Ok(())
}
