//! What brackets are for, on a machine where leaving them out is seen: its
//! kernel bounces all DMA, so that a device's copy and the CPU's are two.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Access, Bracketed, Direction, Memfd, Udmabuf};

use crate::checks::Checks;
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};
use crate::sys::memory::{How, Map};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_dropped_bracket_loses_bytes",
    claim: "where caches are not coherent, bytes written outside a bracket are lost and within one kept",
    storey: Storey::Host,
    needs: Needs {
        devices: &[BOUNCING],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

/// No device, but a kernel that gives every device a copy of the memory: what
/// `DMA_BUF_IOCTL_SYNC` does to a cache elsewhere, it does to that copy here.
const BOUNCING: Device = Device {
    kernel_args: &["swiotlb=force"],
    ..Device::new("bouncing", &[])
};

const SIZE: u64 = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(5);

fn body(checks: &mut Checks) -> Result<()> {
    let memfd = Memfd::create("bouncing", SIZE, Options::default())?;
    let buffer = Udmabuf::open()?.create(&memfd, 0, SIZE)?;
    let memory = Bracketed::of(buffer.try_clone()?, Access::ReadWrite)?;
    let seen = |memory: &Bracketed| -> Result<u8> {
        let bracket = memory.read(PATIENCE)?;
        let byte = bracket.view().read_at(0)?;
        bracket.end()?;
        Ok(byte)
    };
    // The exporter makes the device's copy when it is first told of an access.
    checks.equal("at first it holds zeros", &seen(&memory)?, &0);

    let bracket = memory.access(Direction::Write, 0..1, PATIENCE)?;
    bracket.view().write_at(0, 1_u8)?;
    bracket.end()?;
    checks.equal("what a bracket wrote is there", &seen(&memory)?, &1);

    let mutant = Map::new(&buffer, 0, SIZE as usize, How::SHARED)?;
    mutant.set(0, 2);
    checks.equal("what was written without one is lost", &seen(&memory)?, &1);

    let outer = memory.write(PATIENCE)?;
    outer.view().write_at(0, 3_u8)?;
    let inner = memory.write(PATIENCE)?;
    let within = inner.view().read_at::<u8>(0)?;
    checks.equal("a bracket within a writer's keeps its bytes", &within, &3);
    inner.end()?;
    outer.end()?;
    checks.equal("also when both have ended", &seen(&memory)?, &3);
    let counters = memory.counters();
    checks.equal("every bracket has ended", &counters.open(), &0);
    checks.holds(
        "and the kernel was told so",
        counters.starts == 6 && counters.ends == 6,
        format!("{counters:?}"),
    );
    Ok(())
}
