//! MAP_BLOB and UNMAP_BLOB, as the VMM sees them.

use anyhow::{Context, Result, ensure};
use landbridge_hostile::commands::{blob, host_blob, map, unmap, unref};
use landbridge_protocol_gpu::{BlobFlags, BlobMem};
use landbridge_transport::guest::PAGE;

use crate::machine::Machine;
use crate::row::{OK, Row};

pub(super) fn rows() -> Vec<Row> {
    // Its map idles when it is unmapped.
    let own = |id, size| blob(id, BlobMem::Host3d, BlobFlags::MAPPABLE, size, &[]);
    vec![
        Row::script("unref of what is mapped", OK, |machine| {
            machine.ok(&host_blob(1, PAGE))?;
            machine.ok(&map(1, 0))?;
            let seen = machine.ask(&unref(1))?;
            let window = machine.embedded().window().context("a window")?;
            ensure!(window.maps().is_empty(), "still mapped");
            ensure!(window.read(0, 1).is_err(), "still readable");
            Ok(seen)
        }),
        Row::script("write to what idles", OK, move |machine| {
            let window = |machine: &Machine| -> Result<Vec<u8>> {
                let window = machine.embedded().window().context("a window")?;
                let there = window.read(PAGE, 4)?;
                window.write(PAGE, b"mine")?;
                Ok(there)
            };
            for id in 1..20 {
                machine.ok(&own(id, PAGE))?;
                machine.ok(&map(id, PAGE))?;
                let there = window(machine)?;
                ensure!(there == [0; 4], "{there:?} of an earlier blob");
                machine.ok(&unmap(id))?;
                machine.ok(&unref(id))?;
                window(machine)?;
            }
            Ok(OK)
        })
        .then_reset(),
    ]
}
