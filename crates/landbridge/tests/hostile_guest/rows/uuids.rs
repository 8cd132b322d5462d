//! UUIDs: given once, to what is there, for as long as it is there.

use anyhow::{Context, Result, bail, ensure};
use landbridge_hostile::commands::{assign_uuid, host_blob, map, unref};
use landbridge_protocol_gpu::Response;
use landbridge_transport::guest::PAGE;
use uuid::Uuid;

use crate::machine::Machine;
use crate::row::{OK, Row};

fn uuid(machine: &Machine, id: u32) -> Result<Uuid> {
    match machine.ok(&assign_uuid(id))? {
        Response::OkResourceUuid(uuid) => Ok(uuid),
        other => bail!("{other:?} is no UUID"),
    }
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::script("UUID twice", OK, |machine| {
            machine.ok(&host_blob(1, PAGE))?;
            let first = uuid(machine, 1)?;
            ensure!(uuid(machine, 1)? == first, "another one the second time");
            ensure!(machine.exchange.registry().len() == 1, "two entries");
            Ok(OK)
        }),
        Row::script(
            "UUID of a dead resource whose id is used again",
            OK,
            |machine| {
                machine.ok(&host_blob(1, PAGE))?;
                let old = uuid(machine, 1)?;
                machine.ok(&unref(1))?;
                ensure!(
                    machine.exchange.lookup(old).is_none(),
                    "it outlived its buffer"
                );
                machine.ok(&host_blob(1, PAGE))?;
                let new = uuid(machine, 1)?;
                ensure!(new != old, "inherited");
                ensure!(machine.exchange.lookup(old).is_none(), "it came back");
                Ok(OK)
            },
        ),
        Row::script("UUID looked up after its guest died", OK, |machine| {
            machine.ok(&host_blob(1, PAGE))?;
            machine.ok(&map(1, 0))?;
            let uuid = uuid(machine, 1)?;
            machine.leave()?;
            ensure!(
                machine.exchange.lookup(uuid).is_none(),
                "it outlived its guest"
            );
            machine.connect(landbridge_protocol_gpu::Features::all(), true)?;
            Ok(OK)
        }),
        Row::script("the nil UUID", OK, |machine| {
            machine.ok(&host_blob(1, PAGE))?;
            ensure!(
                machine.exchange.lookup(Uuid::nil()).is_none(),
                "names something"
            );
            let given = uuid(machine, 1)?;
            let buffer = machine.exchange.lookup(given).context("a buffer")?;
            ensure!(buffer.register_uuid(Uuid::nil()).is_err(), "was taken");
            ensure!(
                buffer.register_uuid(Uuid::from_u128(7)).is_err(),
                "was changed"
            );
            ensure!(buffer.uuid() == Some(given), "changed all the same");
            Ok(OK)
        }),
        Row::script(
            "a UUID is held on to by nobody but its buffer",
            OK,
            |machine| {
                machine.ok(&host_blob(1, PAGE))?;
                let uuid = uuid(machine, 1)?;
                let buffer = machine.exchange.lookup(uuid).context("a buffer")?;
                machine.ok(&unref(1))?;
                let again = machine.exchange.lookup(uuid).map(|it| it.id());
                ensure!(again == Some(buffer.id()), "lost with its resource");
                drop(buffer);
                ensure!(
                    machine.exchange.lookup(uuid).is_none(),
                    "it outlived its buffer"
                );
                Ok(OK)
            },
        ),
    ]
}
