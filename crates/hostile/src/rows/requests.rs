//! Requests that are no commands: cut, unknown, on the wrong queue, with
//! fences and rings that can't be, with little room for the answer.

use landbridge_protocol_gpu::ErrorCode::{InvalidParameter, InvalidResourceId, Unspecified};
use landbridge_protocol_gpu::{
    CONTROL_QUEUE, CURSOR_QUEUE, Command, CommandKind, ControlHeader, GetEdid, ResponseKind,
};
use landbridge_transport::guest::PAGE;

use crate::commands::{assign_uuid, attach, create_2d, cursor, host_blob, map};
use crate::layout::DATA;
use crate::row::{Expect, OK, Request, Row, Seen};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = cut();
    rows.extend(unknown());
    rows.extend(headers());
    rows.extend(rooms());
    rows
}

fn cut() -> Vec<Row> {
    let mut rows: Vec<Row> = (1..24)
        .map(|len| {
            let bytes = vec![0xff; len];
            Row::bytes(
                format!("{len} bytes"),
                &[],
                CONTROL_QUEUE,
                bytes,
                InvalidParameter,
            )
        })
        .collect();
    for kind in CommandKind::ALL {
        let queue = match kind.is_cursor() {
            true => CURSOR_QUEUE,
            false => CONTROL_QUEUE,
        };
        let mut bytes = Command::GetDisplayInfo.encode(&ControlHeader::in_context(1));
        bytes[..4].copy_from_slice(&kind.code().to_le_bytes());
        let expect: Seen = match kind {
            CommandKind::GetDisplayInfo => ResponseKind::OkDisplayInfo.into(),
            CommandKind::CtxDestroy => landbridge_protocol_gpu::ErrorCode::InvalidContextId.into(),
            _ => InvalidParameter.into(),
        };
        rows.push(Row::bytes(
            format!("{kind:?} without a body"),
            &[],
            queue,
            bytes,
            expect,
        ));
    }
    for (name, command) in [
        ("create", create_2d(1, 4, 4)),
        ("map", map(1, 0)),
        ("blob", host_blob(1, PAGE)),
        ("backing", attach(1, &[(DATA, 4096)])),
    ] {
        let mut bytes = command.encode(&ControlHeader::default());
        bytes.pop();
        let name = format!("{name} short of a byte");
        rows.push(Row::bytes(
            name,
            &[],
            CONTROL_QUEUE,
            bytes,
            InvalidParameter,
        ));
    }
    let mut long = create_2d(1, 4, 4).encode(&ControlHeader::default());
    long.resize(70_000, 0xcc);
    rows.push(Row::bytes(
        "a command and 70,000 bytes after it",
        &[],
        CONTROL_QUEUE,
        long,
        OK,
    ));
    rows
}

fn unknown() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [
        0,
        1,
        0x00ff,
        0x010e,
        0x01ff,
        0x020a,
        0x0302,
        0x1100,
        0x1200,
        u32::MAX,
    ] {
        for (name, queue) in [("control", CONTROL_QUEUE), ("cursor", CURSOR_QUEUE)] {
            let mut bytes = Command::GetDisplayInfo.encode(&ControlHeader::default());
            bytes[..4].copy_from_slice(&kind.to_le_bytes());
            let name = format!("command {kind:#x} on the {name} queue");
            rows.push(Row::bytes(name, &[], queue, bytes, Unspecified));
        }
    }
    let bytes = |command: Command<'_>| command.encode(&ControlHeader::default());
    rows.extend([
        Row::bytes(
            "a cursor command on the control queue",
            &[],
            CONTROL_QUEUE,
            bytes(Command::UpdateCursor(cursor(0, 0))),
            Unspecified,
        ),
        Row::bytes(
            "a control command on the cursor queue",
            &[],
            CURSOR_QUEUE,
            bytes(create_2d(1, 4, 4)),
            Unspecified,
        ),
    ]);
    rows
}

fn headers() -> Vec<Row> {
    let plain = ControlHeader::default();
    let flat = || create_2d(1, 4, 4);
    let mut rows: Vec<Row> = [64, 200, 255]
        .into_iter()
        .map(|ring| {
            let header = ControlHeader::in_context(1).with_fence(1).with_ring(ring);
            Row::with_header(
                format!("ring {ring}"),
                &[],
                header,
                flat(),
                InvalidParameter,
            )
        })
        .collect();
    let mut all = flat().encode(&plain);
    all[4..24].fill(0xff);
    rows.push(Row::bytes(
        "a header of all ones",
        &[],
        CONTROL_QUEUE,
        all,
        InvalidParameter,
    ));
    let one = Request {
        bytes: flat().encode(&plain.with_fence(u64::MAX)),
        room: 64,
        ..Request::ask(&flat(), OK)
    };
    let again = Request {
        expect: Expect::Exactly(InvalidResourceId.into()),
        ..one.clone()
    };
    let many = std::iter::once(one).chain(vec![again.clone(); 298]);
    rows.push(Row::requests(
        "300 commands with one fence",
        many.collect(),
        again,
    ));
    rows
}

/// The device writes what fits, says so, and has done what it was told.
fn rooms() -> Vec<Row> {
    let long = [
        ("display info", Command::GetDisplayInfo, 408),
        ("an EDID", Command::GetEdid(GetEdid { scanout_id: 0 }), 1056),
        ("an answer", create_2d(7, 4, 4), 24),
        ("a refusal", create_2d(0, 4, 4), 24),
        ("map info", map(1, 0), 32),
        ("a UUID", assign_uuid(1), 40),
    ];
    let mut rows = Vec::new();
    for (what, command, whole) in long {
        for room in [0, 1, 3, 4, 23, 24, 31, 39, 407, 1055, 1056, 1057] {
            let attack = Request {
                room,
                expect: Expect::Length(room.min(whole)),
                ..Request::ask(&command, OK)
            };
            let before = vec![Request::ok(&host_blob(1, PAGE))];
            let name = format!("{what} into {room} bytes");
            rows.push(Row::requests(name, before, attack));
        }
    }
    rows
}
