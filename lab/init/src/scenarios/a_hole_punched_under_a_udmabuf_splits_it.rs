//! Trap: a hole punched in a memfd under a udmabuf splits the two without a
//! word.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::{Access, Mapping, Memfd, Udmabuf, memfd};

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Scenario, Storey};

const SIZE: u64 = 64 << 10;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_hole_punched_under_a_udmabuf_splits_it",
    claim: "a hole in the memfd leaves the udmabuf with the old page, and a wrapped memfd can't be punched",
    storey: Storey::Host,
    needs: Needs { ..Needs::NOTHING },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let device = Udmabuf::open()?;
    splits(checks, &device)?;
    wrapped(checks, &device)
}

fn splits(checks: &mut Checks, device: &Udmabuf) -> Result<()> {
    let memfd = Memfd::create("split", SIZE, memfd::Options::default())?;
    let buffer = device.create(&memfd, 0, SIZE)?;
    let through_buffer = Mapping::whole(&buffer, Access::ReadWrite)?;
    let through_memfd = Mapping::whole(&memfd, Access::ReadWrite)?;
    through_buffer.view().fill(0, 8192, 0x11)?;
    let before = through_memfd.view().read_at::<u8>(0)?;
    checks.equal(
        "at first the memfd shows the udmabuf's bytes",
        &before,
        &0x11,
    );
    memfd.punch_hole(0, 4096)?;
    let after = (
        through_buffer.view().read_at::<u8>(0)?,
        through_memfd.view().read_at::<u8>(0)?,
    );
    checks.equal(
        "then the udmabuf keeps them and the memfd has zeros",
        &after,
        &(0x11, 0),
    );
    through_memfd.view().fill(0, 1, 0x22)?;
    let kept = through_buffer.view().read_at::<u8>(0)?;
    checks.equal(
        "what the memfd gets from now on the udmabuf never sees",
        &kept,
        &0x11,
    );
    let neighbour = through_memfd.view().read_at::<u8>(4096)?;
    checks.equal("the page beside the hole is still one", &neighbour, &0x11);
    Ok(())
}

/// Our way: the buffer takes the memfd, and nobody is left to punch it.
fn wrapped(checks: &mut Checks, device: &Udmabuf) -> Result<()> {
    let memfd = Memfd::create("whole", SIZE, memfd::Options::default())?;
    checks.equal("the memfd is open", &open_memfds("whole")?, &1);
    let buffer = device.wrap(memfd)?;
    checks.equal(
        "a wrapped memfd is open no more",
        &open_memfds("whole")?,
        &0,
    );
    checks.equal("its udmabuf is whole", &buffer.size()?, &SIZE);
    Ok(())
}

fn open_memfds(name: &str) -> Result<usize> {
    let mut open = 0;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let target = std::fs::read_link(entry?.path()).unwrap_or_default();
        open += usize::from(
            target
                .to_string_lossy()
                .starts_with(&format!("/memfd:{name} ")),
        );
    }
    Ok(open)
}
