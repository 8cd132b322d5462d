//! A buffer is imported, mapped by forwarding, and then loses its handles, its
//! importer and its exporter's device, one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::gem::Device;
use landbridge_dmabuf::{Access, Bracketed, Error, Wanted};

use crate::checks::Checks;
use crate::scenario::{self, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_mapping_outlives_its_handle_and_its_device",
    claim: "a forwarded mapping goes on without its handle, and an exporter that is unbound is an error or nothing, never a crash",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", "bochs", "qxl"],
        devices: &[scenario::Device::BOCHS, scenario::Device::QXL],
        // The devices are gone afterwards.
        alone: true,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn body(checks: &mut Checks) -> Result<()> {
    for (driver, folder) in [("bochs-drm", "bochs-drm"), ("qxl", "qxl")] {
        unbound(checks, driver, folder).context(driver)?;
    }
    Ok(())
}

fn unbound(checks: &mut Checks, driver: &str, folder: &str) -> Result<()> {
    let importer = Device::of_driver("vgem")?;
    let exporter = Device::of_driver(driver)?;
    let dumb = exporter.create_dumb(1024, 16, 32)?.object;
    let native = dumb.map(Wanted::Any, Access::ReadWrite, &None)?;
    let buffer = dumb.export()?;
    let imported = importer.import(&buffer)?;
    let forwarded = imported.map(Wanted::Any, Access::ReadWrite, &None)?;
    put(&native, 0x11)?;
    checks.equal(
        &format!("{driver}: both sides agree"),
        &get(&forwarded)?,
        &0x11,
    );

    drop((imported, importer));
    put(&forwarded, 0x22)?;
    checks.equal("without handle and importer as well", &get(&native)?, &0x22);
    drop((dumb, buffer, exporter));
    put(&forwarded, 0x33)?;
    checks.equal("and without the exporter's handle", &get(&native)?, &0x33);

    let address = unbind(folder)?;
    checks.note(format!("{driver}: {address} is unbound"));
    for (name, memory) in [("forwarded", &forwarded), ("native", &native)] {
        let seen = match put(memory, 0x44).and_then(|()| get(memory)) {
            Ok(byte) => format!("{byte:#x}"),
            Err(e) => e.to_string(),
        };
        let right = seen == "0x44" || seen == Error::Gone.to_string() || !memory.is_gone();
        checks.holds(
            &format!("{driver}: a {name} mapping of an unbound device is no crash"),
            right,
            seen,
        );
        checks.equal("and no bracket is left open", &memory.counters().open(), &0);
    }
    Ok(())
}

fn put(memory: &Bracketed, byte: u8) -> Result<(), Error> {
    let bracket = memory.write(PATIENCE)?;
    bracket.view().fill(0, bracket.view().len(), byte)?;
    bracket.end()
}

fn get(memory: &Bracketed) -> Result<u8, Error> {
    let bracket = memory.read(PATIENCE)?;
    let byte = bracket.view().read_at(memory.len() - 1)?;
    bracket.end()?;
    Ok(byte)
}

/// Takes the driver `folder` away from its one PCI device.
fn unbind(folder: &str) -> Result<String> {
    let driver = format!("/sys/bus/pci/drivers/{folder}");
    let entries = std::fs::read_dir(&driver).with_context(|| driver.clone())?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let address = names
        .into_iter()
        .find(|name| name.contains(':'))
        .context("it drives no device")?;
    std::fs::write(format!("{driver}/unbind"), &address).context("unbind")?;
    Ok(address)
}
