//! What a driver can do to the rings themselves, and the one address that
//! another guest has memory at.

use anyhow::{bail, ensure};
use landbridge_hostile::commands::{create_2d, cursor};
use landbridge_hostile::layout::{ANSWER, REQUEST, TABLE};
use landbridge_protocol_gpu::{CONTROL_QUEUE, Command, ControlHeader};
use landbridge_transport::Error;
use landbridge_transport::guest::{Descriptor, PAGE};

use crate::machine::Machine;
use crate::row::{OK, Row, Seen};

fn read(addr: u64, len: u32) -> Descriptor {
    Descriptor::readable(addr, len)
}

fn write(addr: u64, len: u32) -> Descriptor {
    Descriptor::writable(addr, len)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = null();
    rows.extend(rings());
    rows
}

/// This guest has nothing at address 0.
fn null() -> Vec<Row> {
    let nothing = |name: &'static str, chain: Vec<Descriptor>| {
        Row::script(name, Seen::Nothing, move |machine| {
            let table = [read(REQUEST, 24).then(1), write(0, 64)];
            for (index, entry) in table.iter().enumerate() {
                let data = &machine.guest().data;
                data.write(2 * PAGE + 16 * index as u64, &entry.to_bytes())?;
            }
            match machine.push(CONTROL_QUEUE, &chain)? {
                0 => Ok(Seen::Nothing),
                written => bail!("{written} bytes were written"),
            }
        })
    };
    vec![
        nothing(
            "a request at address 0",
            vec![read(0, 24).then(1), write(ANSWER, 64)],
        ),
        nothing("an indirect table at 0", vec![Descriptor::indirect(0, 32)]),
        nothing(
            "an answer at address 0 in a table",
            vec![Descriptor::indirect(TABLE, 32)],
        ),
    ]
}

/// Puts a command where requests are.
fn put(machine: &Machine, command: &Command<'_>) -> anyhow::Result<()> {
    let bytes = command.encode(&ControlHeader::default());
    Ok(machine.guest().data.write(0, &bytes)?)
}

/// What a driver can do to the rings themselves.
fn rings() -> Vec<Row> {
    let available = |machine: &Machine| -> anyhow::Result<u64> {
        let raw = machine.embedded().raw(CONTROL_QUEUE)?;
        Ok(raw.table() + 16 * u64::from(raw.size()))
    };
    let mut rows: Vec<Row> = [256u16, 0x7fff, 0xffff]
        .into_iter()
        .map(|head| {
            Row::script(
                format!("head {head} outside the table"),
                OK,
                move |machine| {
                    machine.embedded().raw(CONTROL_QUEUE)?.push_head(head)?;
                    machine.ask(&create_2d(1, 4, 4))
                },
            )
        })
        .collect();
    rows.extend([
        Row::script("a head that was used before", OK, |machine| {
            machine.ok(&create_2d(1, 4, 4))?;
            for head in 0..8 {
                machine.embedded().raw(CONTROL_QUEUE)?.push_head(head)?;
            }
            Ok(OK)
        })
        .then_reset(),
        Row::script("more heads than the queue has", Seen::Ended, |machine| {
            machine.embedded().raw(CONTROL_QUEUE)?.advance(257)?;
            ended(machine)
        })
        .then_reset(),
        Row::script("heads all the way round", Seen::Ended, |machine| {
            machine.embedded().raw(CONTROL_QUEUE)?.advance(u16::MAX)?;
            ended(machine)
        })
        .then_reset(),
        Row::script("an answer over the descriptor table", OK, |machine| {
            put(machine, &create_2d(1, 4, 4))?;
            let table = machine.embedded().raw(CONTROL_QUEUE)?.table();
            let written = machine.push(
                CONTROL_QUEUE,
                &[read(REQUEST, 40).then(1), write(table, 64)],
            )?;
            ensure!(written == 24, "{written} bytes");
            Ok(OK)
        }),
        Row::script(
            "an answer over the available ring",
            Seen::Ended,
            move |machine| {
                put(machine, &create_2d(1, 4, 4))?;
                // Some chains first, so that the index falls behind.
                machine.ok(&Command::GetDisplayInfo)?;
                let ring = available(machine)?;
                machine.push(CONTROL_QUEUE, &[read(REQUEST, 40).then(1), write(ring, 24)])?;
                Ok(Seen::Ended)
            },
        )
        .then_reset(),
    ]);
    rows
}

/// Nothing comes back on the control queue any more, while the other goes on.
fn ended(machine: &Machine) -> anyhow::Result<Seen> {
    let bytes = Command::GetDisplayInfo.encode(&ControlHeader::default());
    let pending = machine.embedded().submit(CONTROL_QUEUE, &bytes, 2048)?;
    let cursor = Command::MoveCursor(cursor(0, 0));
    let seen = machine.ask(&cursor)?;
    ensure!(seen == OK, "the cursor queue: {seen:?}");
    machine.embedded().reset()?;
    match pending.wait(crate::machine::PATIENCE) {
        Err(Error::Ended) => Ok(Seen::Ended),
        other => bail!("{other:?} on a broken queue"),
    }
}
