//! Descriptor chains: too short, too long, looping, pointing nowhere, the
//! wrong way round.

use anyhow::{bail, ensure};
use landbridge_protocol_gpu::ErrorCode::InvalidParameter;
use landbridge_protocol_gpu::{CONTROL_QUEUE, Command, ControlHeader, ResponseKind};
use landbridge_transport::Error;
use landbridge_transport::guest::{Descriptor, PAGE, RAM_BASE};

use crate::commands::create_2d;
use crate::machine::{Machine, RAM_END, data_address};
use crate::row::{OK, Row, Seen, judge};

/// Where requests are, where answers go, and where indirect tables are.
fn request() -> u64 {
    data_address()
}

fn answer() -> u64 {
    data_address() + PAGE
}

fn table() -> u64 {
    data_address() + 2 * PAGE
}

fn read(addr: u64, len: u32) -> Descriptor {
    Descriptor::readable(addr, len)
}

fn write(addr: u64, len: u32) -> Descriptor {
    Descriptor::writable(addr, len)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = direct();
    rows.extend(indirect());
    rows.extend(legal());
    rows.extend(rings());
    rows
}

fn direct() -> Vec<Row> {
    let (from, to) = (request(), answer());
    let mebibyte = |count: u16| -> Vec<Descriptor> {
        let one = read(RAM_BASE, 1 << 20);
        (1..count).map(|next| one.then(next)).chain([one]).collect()
    };
    vec![
        Row::bad_chain("a chain that is a loop of one", vec![read(from, 8).then(0)]),
        Row::bad_chain(
            "a chain that is a loop of two",
            vec![read(from, 8).then(1), read(from, 8).then(0)],
        ),
        Row::bad_chain(
            "a loop of writable descriptors",
            vec![read(from, 8).then(1), write(to, 8).then(1)],
        ),
        Row::bad_chain("a next outside the table", vec![read(from, 8).then(0xffff)]),
        Row::bad_chain("a next at the table's end", vec![read(from, 8).then(256)]),
        Row::bad_chain(
            "a request at address 0",
            vec![read(0, 24).then(1), write(to, 64)],
        ),
        Row::bad_chain(
            "a request across memory's end",
            vec![read(RAM_END - 4, 24).then(1), write(to, 64)],
        ),
        Row::bad_chain(
            "a request far away",
            vec![read(1 << 60, 24).then(1), write(to, 64)],
        ),
        Row::bad_chain(
            "a request that wraps",
            vec![read(u64::MAX - 3, 24).then(1), write(to, 64)],
        ),
        Row::bad_chain(
            "a request of 4 GiB",
            vec![read(from, u32::MAX).then(1), write(to, 64)],
        ),
        Row::bad_chain(
            "an answer below memory",
            vec![read(from, 24).then(1), write(RAM_BASE - 8, 64)],
        ),
        Row::bad_chain(
            "an answer across memory's end",
            vec![read(from, 24).then(1), write(RAM_END - 8, 64)],
        ),
        Row::bad_chain(
            "an answer that wraps",
            vec![read(from, 24).then(1), write(u64::MAX, 64)],
        ),
        Row::bad_chain(
            "an answer of 4 GiB",
            vec![read(from, 24).then(1), write(to, u32::MAX)],
        ),
        Row::bad_chain(
            "a request after its answer",
            vec![write(to, 64).then(1), read(from, 24)],
        ),
        Row::bad_chain(
            "requests and answers in turn",
            vec![
                read(from, 24).then(1),
                write(to, 8).then(2),
                read(from, 8).then(3),
                write(to, 8),
            ],
        ),
        Row::bad_chain("a request of 17 MiB", mebibyte(17)),
        Row::bad_chain("a request of 250 MiB", mebibyte(250)),
        Row::bad_chain("a request with no room for an answer", vec![read(from, 24)]),
        Row::bad_chain("one descriptor of no bytes", vec![read(0, 0)]),
    ]
}

fn indirect() -> Vec<Row> {
    let (from, to, at) = (request(), answer(), table());
    let in_table = |name: &'static str, len: u32, entries: Vec<Descriptor>| {
        Row::script(name, Seen::Nothing, move |machine| {
            for (index, entry) in entries.iter().enumerate() {
                let data = &machine.guest().data;
                data.write(2 * PAGE + 16 * index as u64, &entry.to_bytes())?;
            }
            match machine.push(CONTROL_QUEUE, &[Descriptor::indirect(at, len)])? {
                0 => Ok(Seen::Nothing),
                written => bail!("{written} bytes were written"),
            }
        })
    };
    let good = || vec![read(from, 24).then(1), write(to, 64)];
    vec![
        in_table("an empty indirect table", 0, good()),
        in_table("half an indirect descriptor", 8, good()),
        in_table("one and a half indirect descriptors", 24, good()),
        in_table("a next outside an indirect table", 16, good()),
        in_table(
            "a loop in an indirect table",
            32,
            vec![read(from, 8).then(1), read(from, 8).then(0)],
        ),
        in_table(
            "an indirect table in itself",
            32,
            vec![Descriptor::indirect(at, 32); 2],
        ),
        in_table(
            "an indirect table at the end of another",
            32,
            vec![read(from, 24).then(1), Descriptor::indirect(at, 32)],
        ),
        in_table(
            "a request after its answer in a table",
            32,
            vec![write(to, 64).then(1), read(from, 24)],
        ),
        in_table(
            "an answer outside memory in a table",
            32,
            vec![read(from, 24).then(1), write(0, 64)],
        ),
        Row::bad_chain("an indirect table at 0", vec![Descriptor::indirect(0, 32)]),
        Row::bad_chain(
            "an indirect table across memory's end",
            vec![Descriptor::indirect(RAM_END - 16, 32)],
        ),
        Row::bad_chain(
            "an indirect table that wraps",
            vec![Descriptor::indirect(u64::MAX - 15, 32)],
        ),
        Row::bad_chain(
            "an indirect table of 4 GiB",
            vec![Descriptor::indirect(RAM_BASE, 0xffff_fff0)],
        ),
        Row::bad_chain(
            "an indirect table of 65,537 descriptors",
            vec![Descriptor::indirect(RAM_BASE, 65_537 * 16)],
        ),
        Row::bad_chain(
            "an indirect descriptor with a successor",
            vec![Descriptor::indirect(at, 32).then(1), write(to, 64)],
        ),
    ]
}

/// Strange, but well-formed: served.
fn legal() -> Vec<Row> {
    let (from, to) = (request(), answer());
    let serve = |name: &'static str, expect: Seen, chain: Vec<Descriptor>| {
        Row::script(name, expect, move |machine| {
            put(machine, &create_2d(1, 4, 4))?;
            let written = machine.push(CONTROL_QUEUE, &chain)?;
            judge(&machine.guest().data.read(PAGE, written as usize)?)
        })
    };
    let bytes = (0..40).map(|byte| read(from + byte, 1).then(byte as u16 + 1));
    let scattered: Vec<_> = bytes
        .chain((0..24).map(|byte| write(to + byte, 1).then(byte as u16 + 41)))
        .chain([write(to + 24, 0)])
        .collect();
    vec![
        serve("a chain of a descriptor a byte", OK, scattered),
        serve(
            "a chain with nothing to read",
            InvalidParameter.into(),
            vec![write(to, 64)],
        ),
        serve(
            "a request that is only writable",
            InvalidParameter.into(),
            // The first is taken for the room of the answer.
            vec![write(to, 40).then(1), write(from, 64)],
        ),
        serve(
            "empty descriptors that point nowhere",
            OK,
            vec![
                read(0, 0).then(1),
                read(from, 40).then(2),
                write(u64::MAX, 0).then(3),
                write(to, 64),
            ],
        ),
        Row::script("an answer over its own request", OK, move |machine| {
            put(machine, &create_2d(1, 4, 4))?;
            let written =
                machine.push(CONTROL_QUEUE, &[read(from, 40).then(1), write(from, 64)])?;
            judge(&machine.guest().data.read(0, written as usize)?)
        }),
        Row::script(
            "an indirect table of 65,536 descriptors",
            ResponseKind::OkDisplayInfo,
            |machine| {
                put(machine, &Command::GetDisplayInfo)?;
                let pages = machine.embedded().allocate(65_536 * 16)?;
                let mut bytes = Vec::with_capacity(65_536 * 16);
                for index in 0..65_535u32 {
                    let at = request() + u64::from(index.min(23));
                    bytes.extend(read(at, 1).then(index as u16 + 1).to_bytes());
                }
                bytes.extend(write(answer(), 2048).to_bytes());
                pages.write(0, &bytes)?;
                let chain = [Descriptor::indirect(pages.address(), bytes.len() as u32)];
                let written = machine.push(CONTROL_QUEUE, &chain)?;
                judge(&machine.guest().data.read(PAGE, written as usize)?)
            },
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
                &[read(request(), 40).then(1), write(table, 64)],
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
                machine.push(
                    CONTROL_QUEUE,
                    &[read(request(), 40).then(1), write(ring, 24)],
                )?;
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
    let cursor = Command::MoveCursor(crate::commands::cursor(0, 0));
    let seen = machine.ask(&cursor)?;
    ensure!(seen == OK, "the cursor queue: {seen:?}");
    machine.embedded().reset()?;
    match pending.wait(crate::machine::PATIENCE) {
        Err(Error::Ended) => Ok(Seen::Ended),
        other => bail!("{other:?} on a broken queue"),
    }
}
