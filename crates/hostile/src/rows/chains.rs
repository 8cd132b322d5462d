//! Descriptor chains: too short, too long, looping, pointing nowhere, the
//! wrong way round.

use landbridge_protocol_gpu::ErrorCode::InvalidParameter;
use landbridge_protocol_gpu::{Command, ControlHeader, ResponseKind};
use landbridge_transport::guest::{Descriptor, PAGE, RAM_BASE};

use crate::commands::create_2d;
use crate::layout::{ANSWER, HOLE, RAM_END, REQUEST, TABLE};
use crate::row::{OK, Row, Seen};

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
    rows
}

fn direct() -> Vec<Row> {
    let (from, to) = (REQUEST, ANSWER);
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
            "a request in a hole",
            vec![read(HOLE, 24).then(1), write(to, 64)],
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
    let (from, to, at) = (REQUEST, ANSWER, TABLE);
    let in_table = |name: &'static str, len: u32, entries: Vec<Descriptor>| {
        let chain = vec![Descriptor::indirect(at, len)];
        Row::chain(name, vec![(at, bytes(&entries))], chain, to, Seen::Nothing)
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
            vec![read(from, 24).then(1), write(HOLE, 64)],
        ),
        Row::bad_chain(
            "an indirect table in a hole",
            vec![Descriptor::indirect(HOLE, 32)],
        ),
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
    let (from, to) = (REQUEST, ANSWER);
    let serve = |name: &'static str, expect: Seen, chain: Vec<Descriptor>| {
        Row::chain(name, vec![create()], chain, to, expect)
    };
    let single = (0..40).map(|byte| read(from + byte, 1).then(byte as u16 + 1));
    let scattered: Vec<_> = single
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
        Row::chain(
            "an answer over its own request",
            vec![create()],
            vec![read(from, 40).then(1), write(from, 64)],
            from,
            OK,
        ),
        long(),
    ]
}

/// The longest table that there may be.
fn long() -> Row {
    const COUNT: u32 = 65_536;
    let at = TABLE + PAGE;
    let mut table: Vec<_> = (0..COUNT - 1)
        .map(|index| read(REQUEST + u64::from(index.min(23)), 1).then(index as u16 + 1))
        .collect();
    table.push(write(ANSWER, 2048));
    Row::chain(
        "an indirect table of 65,536 descriptors",
        vec![command(&Command::GetDisplayInfo), (at, bytes(&table))],
        vec![Descriptor::indirect(at, 16 * COUNT)],
        ANSWER,
        ResponseKind::OkDisplayInfo,
    )
}

/// A command where requests are.
fn command(command: &Command<'_>) -> (u64, Vec<u8>) {
    (REQUEST, command.encode(&ControlHeader::default()))
}

fn create() -> (u64, Vec<u8>) {
    command(&create_2d(1, 4, 4))
}

fn bytes(table: &[Descriptor]) -> Vec<u8> {
    table.iter().flat_map(|it| it.to_bytes()).collect()
}
