//! The examples of `dmabuf`, as they stand there, against each other: a producer
//! draws, a compositor with a GPU shows.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::gem::Device;
use landbridge_dmabuf::sync_file::Status;

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Scenario, Storey};

// Their `main` is for `cargo run --example`.
#[expect(dead_code, reason = "a program, not a module")]
#[path = "../../../../crates/dmabuf/examples/compositor.rs"]
mod compositor;
#[expect(dead_code, reason = "a program, not a module")]
#[path = "../../../../crates/dmabuf/examples/producer.rs"]
mod producer;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "the_examples_run",
    claim: "the examples' producer and compositor share frames with fences and without a copy",
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
    let vgem = Device::of_driver("vgem")?;
    for gpu in [Some(&vgem), None] {
        let buffer = producer::allocate()?;
        let mut surface = compositor::Surface::import(buffer.try_clone()?, gpu)?;
        checks.equal("the GPU has the surface", &surface.on_gpu, &gpu.is_some());
        let mut producer = producer::Producer::new(buffer)?;
        for number in 0..3_u8 {
            let ready = producer.draw(number)?;
            let (sum, release) = surface.show(&ready)?;
            let rows = (0..producer::SIZE / producer::PITCH).map(|y| u64::from(number) + y as u64);
            let drawn = rows.sum::<u64>() * producer::PITCH as u64;
            checks.equal("the compositor sees what was drawn", &sum, &drawn);
            checks.equal("and lets go", &release.status()?, &Status::Signaled);
        }
    }
    Ok(())
}
