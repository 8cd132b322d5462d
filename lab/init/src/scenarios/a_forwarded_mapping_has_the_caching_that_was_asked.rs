//! A request for a caching is held against the exporter's page table.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::gem::Device;
use landbridge_dmabuf::{Access, Caching, DmaBuf, Error, KnowsCaching, Wanted};
use landbridge_inspect::{Config, Inspector};

use crate::checks::Checks;
use crate::exporters::{self, Dumb, Exporter};
use crate::scenario::{self, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_forwarded_mapping_has_the_caching_that_was_asked",
    claim: "an importer's request for a caching is granted or refused by the exporter's page table",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", "bochs", "qxl"],
        devices: &[scenario::Device::BOCHS, scenario::Device::QXL],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

const ALL: [Caching; 3] = [
    Caching::WriteBack,
    Caching::WriteCombining,
    Caching::Uncached,
];

/// Asks the page table of the mapping that was just made.
struct PageTable(Inspector);

impl KnowsCaching for PageTable {
    fn caching_of(&self, _: BorrowedFd<'_>, address: usize) -> Option<Caching> {
        use landbridge_inspect::Caching as Found;
        let found = self.0.mapping(None, address as u64).ok()?;
        match found.info.caching? {
            Found::WriteBack => Some(Caching::WriteBack),
            Found::WriteCombining => Some(Caching::WriteCombining),
            Found::Uncached => Some(Caching::Uncached),
            Found::WriteThrough | Found::Mixed => None,
        }
    }
}

fn body(checks: &mut Checks) -> Result<()> {
    let known = PageTable(Inspector::open(Config::default()));
    let importer = Device::of_driver("vgem")?;
    let exporters: [(Box<dyn Exporter>, Caching); 3] = [
        (Box::new(Dumb::of("vgem", "vgem")?), Caching::WriteCombining),
        (
            Box::new(Dumb::of("bochs-drm", "bochs")?),
            Caching::WriteBack,
        ),
        // Write-back in the VMA, write-combining in the page table.
        (
            Box::new(Dumb::surfaces_of_qxl("qxl-bar")?),
            Caching::WriteCombining,
        ),
    ];
    for (exporter, real) in &exporters {
        let exported = exporter.export(64 << 10, exporters::Access::ReadWrite)?;
        let buffer = DmaBuf::try_from(rustix::io::dup(&exported)?)?;
        let name = exporter.name();
        let object = importer.import(&buffer).context(name)?;
        for wanted in ALL {
            let mapped = object.map(Wanted::Exactly(wanted), Access::ReadWrite, &known);
            let answer = match mapped {
                Ok(memory) => memory.caching(),
                Err(Error::OtherCaching { found, .. }) if found == *real => None,
                Err(e) => return Err(e).with_context(|| format!("{name}: {wanted}")),
            };
            let right = (wanted == *real).then_some(*real);
            checks.equal(&format!("{name}: {wanted} is asked"), &answer, &right);
        }
        for wanted in [Wanted::Aperture, Wanted::Fixed] {
            let refused = object.map(wanted, Access::ReadWrite, &known);
            let errno = refused.err().and_then(|e| e.errno());
            checks.equal(
                &format!("{name}: {wanted:?} is the importer's alone"),
                &errno,
                &Some(libc::ENODEV),
            );
        }
    }
    Ok(())
}
