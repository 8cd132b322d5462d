//! Buffers of DRM devices in the exchange: out through one device, in through
//! another, home again, and always the same buffer.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::gem::Device;
use landbridge_exchange::exporters::gem::publish;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::gem::GemImport;
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};

use crate::checks::Checks;
use crate::scenario::{self, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_buffer_that_comes_back_is_itself",
    claim: "a buffer that left through one device and returns through another is one buffer in the exchange",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", "bochs"],
        devices: &[scenario::Device::BOCHS],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(20),
    expect: Expect::Passes,
    body,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn body(checks: &mut Checks) -> Result<()> {
    let exchange = Exchange::new();
    let tenant = Tenant::new("gpu", Limits::default());
    let (bochs, vgem) = (Device::of_driver("bochs-drm")?, Device::of_driver("vgem")?);

    let dumb = bochs.create_dumb(1024, 16, 32)?.object;
    let buffer = publish(&exchange, dumb.clone(), None, &tenant)?;
    checks.equal(
        "it comes from its driver",
        &buffer.origin(),
        &Some("bochs-drm"),
    );
    let abroad = GemImport::attach(&buffer, &vgem, Direction::ReadWrite, &tenant)?;
    checks.equal("another device imports it", &abroad.is_own(), &false);
    let back = publish(&exchange, abroad.object().clone(), None, &tenant)?;
    checks.equal(
        "published from there it is the same buffer",
        &back.id(),
        &buffer.id(),
    );
    let home = GemImport::attach(&back, &bochs, Direction::ReadWrite, &tenant)?;
    checks.equal(
        "imported at home it is the device's own",
        &home.is_own(),
        &true,
    );
    checks.equal(
        "under the same handle",
        &home.object().handle(),
        &dumb.handle(),
    );
    checks.equal("the exchange has one buffer", &exchange.buffers().len(), &1);
    write_and_read(checks, &buffer, &back, &tenant)?;
    checks.equal("nothing was copied", &exchange.copied_bytes(), &0);

    foreign(checks, &exchange, &tenant, [&bochs, &vgem])?;
    drop((dumb, abroad, home, back, buffer));
    checks.equal("the exchange is empty", &exchange.buffers().len(), &0);
    let open = (bochs.open_handles(), vgem.open_handles());
    checks.equal("and so are the devices", &open, &(0, 0));
    Ok(())
}

/// What one name of a buffer writes, the other reads.
fn write_and_read(
    checks: &mut Checks,
    one: &Buffer,
    other: &Buffer,
    tenant: &Tenant,
) -> Result<()> {
    let writer = CpuImport::attach(one, "writer", Direction::Write, tenant)?;
    let access = writer.access(Direction::Write, PATIENCE)?;
    access.view().write_at(4096, 0x5a_u8)?;
    access.end()?;
    let reader = CpuImport::attach(other, "reader", Direction::Read, tenant)?;
    let access = reader.access(Direction::Read, PATIENCE)?;
    let seen = access.view().read_at::<u8>(4096)?;
    access.end()?;
    checks.equal("its bytes are the same", &seen, &0x5a);
    Ok(())
}

/// Memory of this host's goes round by two devices.
fn foreign(
    checks: &mut Checks,
    exchange: &Exchange,
    tenant: &Tenant,
    devices: [&Device; 2],
) -> Result<()> {
    let memory = HostMemory::allocate("round", 64 << 10, Kind::SystemHeap)?;
    let buffer = exchange.publish(memory, tenant)?;
    let mut at = buffer.clone();
    for turn in 0..4 {
        let import = GemImport::attach(&at, devices[turn % 2], Direction::ReadWrite, tenant)?;
        at = publish(exchange, import.object().clone(), None, tenant)?;
    }
    checks.equal(
        "four imports later it is still itself",
        &at.id(),
        &buffer.id(),
    );
    let memfd = HostMemory::allocate("no dma-buf", 4096, Kind::Memfd)?;
    let memfd = exchange.publish(memfd, tenant)?;
    checks.refused(
        "a memfd is no dma-buf",
        GemImport::attach(&memfd, devices[0], Direction::Read, tenant),
        "not a dma-buf",
    );
    Ok(())
}
