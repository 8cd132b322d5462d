//! Scanouts and cursors: numbers out of range, pictures that leave their
//! buffer, floods, and buffers that go away while they are shown.

use landbridge_protocol_gpu::ErrorCode::{
    InvalidParameter, InvalidResourceId, InvalidScanoutId, Unspecified,
};
use landbridge_protocol_gpu::{Command, GetEdid, Rect, SetScanoutBlob};
use landbridge_transport::guest::PAGE;

use crate::commands::{
    attach, create_2d, cursor, detach, flush, guest_blob, host_blob, picture, rect, set_scanout,
    show, transfer,
};
use crate::layout::DATA;
use crate::row::{OK, Row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = numbers();
    rows.extend(pictures());
    rows.extend(rectangles());
    rows.extend(cursors());
    rows.extend(ends());
    rows
}

fn numbers() -> Vec<Row> {
    let flat = [create_2d(1, 4, 4)];
    let shown = [host_blob(1, PAGE)];
    let whole = Rect::of_size(4, 4);
    let mut rows = Vec::new();
    for number in [2, 15, 16, 32, 64, 1 << 31, u32::MAX] {
        for (name, before, command) in [
            ("SET_SCANOUT", &flat, set_scanout(number, 1, whole)),
            (
                "SET_SCANOUT off",
                &flat,
                set_scanout(number, 0, Rect::default()),
            ),
            ("SET_SCANOUT_BLOB", &shown, show(number, 1, 4, 4)),
            (
                "UPDATE_CURSOR",
                &flat,
                Command::UpdateCursor(cursor(number, 0)),
            ),
            ("MOVE_CURSOR", &flat, Command::MoveCursor(cursor(number, 0))),
            (
                "GET_EDID",
                &flat,
                Command::GetEdid(GetEdid { scanout_id: number }),
            ),
        ] {
            let name = format!("{name} of scanout {number}");
            rows.push(Row::command(name, before, command, InvalidScanoutId));
        }
    }
    rows
}

fn pictures() -> Vec<Row> {
    let shown = [host_blob(1, PAGE)];
    let with = |change: &dyn Fn(&mut SetScanoutBlob)| {
        let mut set = picture(0, 1, 16, 16);
        change(&mut set);
        Command::SetScanoutBlob(set)
    };
    let mut rows: Vec<Row> = [
        ("one row too many", with(&|set| set.height = 65)),
        ("offset at the end", with(&|set| set.offsets[0] = 4096)),
        (
            "offset one byte too far",
            with(&|set| set.offsets[0] = 4096 - 1023),
        ),
        ("offset wraps", with(&|set| set.offsets[0] = u32::MAX)),
        (
            "stride x height wraps",
            with(&|set| {
                set.strides[0] = u32::MAX;
                set.height = u32::MAX;
            }),
        ),
        (
            "stride x height wraps to 0",
            with(&|set| {
                set.strides[0] = 1 << 31;
                set.height = 3;
            }),
        ),
        (
            "offset and stride wrap together",
            with(&|set| {
                set.offsets[0] = 0xffff_f000;
                set.strides[0] = 0x1000;
                set.height = 2;
            }),
        ),
        ("stride 0", with(&|set| set.strides[0] = 0)),
        ("stride below a row", with(&|set| set.strides[0] = 63)),
        (
            "stride below a row that wraps",
            with(&|set| set.width = 0x4000_0001),
        ),
        ("width 0", with(&|set| set.width = 0)),
        ("height 0", with(&|set| set.height = 0)),
        (
            "all ones",
            with(&|set| {
                (set.width, set.height) = (u32::MAX, u32::MAX);
                set.strides = [u32::MAX; 4];
                set.offsets = [u32::MAX; 4];
            }),
        ),
        ("format 0", with(&|set| set.format_code = 0)),
        ("format 5", with(&|set| set.format_code = 5)),
        ("format all ones", with(&|set| set.format_code = u32::MAX)),
        ("a second plane", with(&|set| set.strides[1] = 64)),
        ("a fourth plane", with(&|set| set.offsets[3] = 1)),
        ("rectangle outside", with(&|set| set.rect.x = 1)),
        ("rectangle wraps", with(&|set| set.rect.y = u32::MAX)),
        ("rectangle empty", with(&|set| set.rect.width = 0)),
    ]
    .into_iter()
    .map(|(name, set)| {
        Row::command(
            format!("blob scanout, {name}"),
            &shown,
            set,
            InvalidParameter,
        )
    })
    .collect();
    rows.extend([
        Row::command(
            "blob scanout of nothing",
            &[],
            show(0, 1, 4, 4),
            InvalidResourceId,
        ),
        Row::command(
            "blob scanout of a 2D resource",
            &[create_2d(1, 4, 4)],
            show(0, 1, 4, 4),
            InvalidParameter,
        ),
        Row::command(
            "blob scanout without memory",
            &[guest_blob(1, PAGE, &[])],
            show(0, 1, 16, 16),
            Unspecified,
        ),
        Row::command(
            "blob scanout whose memory was detached",
            &[guest_blob(1, PAGE, &[(DATA, 4096)]), detach(1)],
            show(0, 1, 16, 16),
            Unspecified,
        ),
    ]);
    rows
}

fn rectangles() -> Vec<Row> {
    let flat = [create_2d(1, 4, 4)];
    let shown = [host_blob(1, PAGE)];
    let whole = Rect::of_size(4, 4);
    let mut rows = vec![
        Row::command(
            "scanout of nothing",
            &[],
            set_scanout(0, 1, whole),
            InvalidResourceId,
        ),
        Row::command(
            "scanout of a blob without a layout",
            &shown,
            set_scanout(0, 1, whole),
            InvalidParameter,
        ),
        Row::command("flush of nothing", &[], flush(1, whole), InvalidResourceId),
        Row::command("flush of what is not shown", &flat, flush(1, whole), OK),
    ];
    for (name, area) in [
        ("too wide", rect(0, 0, 5, 4)),
        ("too high", rect(0, 0, 4, 5)),
        ("that wraps", rect(u32::MAX, 0, 4, 1)),
        ("of all ones", rect(u32::MAX, u32::MAX, u32::MAX, u32::MAX)),
    ] {
        for (what, command) in [
            ("scanout", set_scanout(0, 1, area)),
            ("flush", flush(1, area)),
        ] {
            rows.push(Row::command(
                format!("{what} {name}"),
                &flat,
                command,
                InvalidParameter,
            ));
        }
    }
    rows.extend([
        Row::command(
            "scanout, empty",
            &flat,
            set_scanout(0, 1, Rect::default()),
            InvalidParameter,
        ),
        Row::command(
            "flush of a blob that wraps",
            &shown,
            flush(1, rect(2, 0, u32::MAX, 1)),
            InvalidParameter,
        ),
    ]);
    rows
}

fn cursors() -> Vec<Row> {
    let update = |id| Command::UpdateCursor(cursor(0, id));
    vec![
        Row::command("cursor of nothing", &[], update(1), InvalidResourceId),
        Row::command(
            "cursor of the wrong size",
            &[create_2d(1, 4, 4)],
            update(1),
            InvalidParameter,
        ),
        Row::command(
            "cursor too large",
            &[create_2d(1, 65, 64)],
            update(1),
            InvalidParameter,
        ),
        Row::command(
            "cursor in a small blob",
            &[host_blob(1, PAGE)],
            update(1),
            InvalidParameter,
        ),
        Row::command(
            "cursor without memory",
            &[guest_blob(1, 4 * PAGE, &[])],
            update(1),
            Unspecified,
        ),
        Row::command(
            "cursor far away",
            &[create_2d(1, 64, 64)],
            Command::UpdateCursor(landbridge_protocol_gpu::Cursor {
                hot_x: u32::MAX,
                hot_y: u32::MAX,
                position: landbridge_protocol_gpu::CursorPosition {
                    scanout_id: 0,
                    x: u32::MAX,
                    y: 1 << 31,
                },
                resource_id: 1,
            }),
            OK,
        ),
    ]
}

/// Floods, and what is shown when its buffer goes.
fn ends() -> Vec<Row> {
    let whole = Rect::of_size(4, 4);
    let backed = |more: &[Command<'static>]| {
        let mut all = vec![create_2d(1, 4, 4), attach(1, &[(DATA, 4096)])];
        all.extend([transfer(1, whole, 0), set_scanout(0, 1, whole)]);
        all.extend_from_slice(more);
        all
    };
    vec![Row::command(
        "detach of a 2D resource that is shown",
        &backed(&[detach(1)]),
        flush(1, whole),
        OK,
    )]
}
