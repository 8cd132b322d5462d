//! The guest's driver is taken from the device while a program maps a host blob
//! that is on the screen. QEMU drops the map by itself, and must live to start
//! the next driver.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::{Access, Bracketed, DmaBuf};

use crate::checks::Checks;
use crate::desk::machine::ONE_GPU;
use crate::desk::{Desk, buffers};
use crate::scenario::{Expect, Scenario, Storey};
use crate::virtgpu::{Card, TAKEDOWN};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_driver_goes_while_a_blob_is_mapped",
    claim: "a driver unbound under a mapped blob takes nobody with it, and the next one works",
    storey: Storey::Guest,
    needs: ONE_GPU,
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

/// Longer than any fence here takes.
const PATIENCE: Duration = Duration::from_secs(5);

const SHORT: u32 = 3;
const LONG: u32 = 50;

fn body(checks: &mut Checks) -> Result<()> {
    checks.excuse(&[TAKEDOWN]);
    let mut desk = Desk::open()?;
    for life in 0..checks.rounds(SHORT, LONG) {
        let card = Card::open(0)?;
        let screen = card.screen(0)?;
        let shown = card.show(&screen, life)?;
        let difference = desk.difference(0, 0, shown.picture)?;
        checks.equal(
            &format!("life {life} shows its picture"),
            &difference,
            &None,
        );
        let buffer = DmaBuf::try_from(card.export(shown.made.handle)?)?;
        let forwarded = Bracketed::of(buffer, Access::ReadOnly)?;
        let virtio = card.virtio().to_owned();
        let before = buffers(&desk.status()?);
        Card::unbind(&virtio)?;
        // Whatever it is that is read where the window was: nobody dies of it.
        let read = forwarded.read(PATIENCE).and_then(|bracket| {
            let byte = bracket.view().read_at::<u8>(0)?;
            bracket.end()?;
            Ok(byte)
        });
        checks.note(format!(
            "life {life}: afterwards its first byte is {read:?}"
        ));
        drop(forwarded);
        Card::bind(&virtio)?;
        let stayed = desk.stayed(&before)?;
        checks.equal(&format!("life {life} leaves nothing"), &stayed, &Vec::new());
        // With its program, or before: the next driver is there already.
        drop((shown, card));
    }
    Ok(())
}
