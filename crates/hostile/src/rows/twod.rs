//! 2D resources: sizes that wrap (CVE-2026-3886), ids that are taken.

use landbridge_protocol_gpu::ErrorCode::{InvalidParameter, InvalidResourceId, OutOfMemory};

use crate::commands::{create_2d, host_blob, patched, unref};
use crate::layout::BUFFERS;
use crate::row::{OK, Row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = sizes().chain(ids()).collect();
    rows.extend([0, 5, 100, u32::MAX].map(|format| {
        Row::bytes(
            format!("2D of the unknown format {format}"),
            &[],
            0,
            patched(&create_2d(1, 4, 4), 28, format),
            InvalidParameter,
        )
    }));
    rows.push(
        Row::command(
            "2D resources until the limit, and one more",
            &(1..=BUFFERS as u32)
                .map(|id| create_2d(id, 4, 4))
                .collect::<Vec<_>>(),
            create_2d(1000, 4, 4),
            OutOfMemory,
        )
        .then_reset(),
    );
    rows.push(
        Row::command(
            "2D resources until memory is used up",
            &[1, 2, 3, 4].map(|id| create_2d(id, 2048, 2048)),
            create_2d(5, 1, 1),
            OutOfMemory,
        )
        .then_reset(),
    );
    rows
}

fn sizes() -> impl Iterator<Item = Row> {
    [
        ("2D, width x bpp wraps", 1 << 30, 1, InvalidParameter),
        (
            "2D, width x bpp wraps to 4",
            0x4000_0001,
            1,
            InvalidParameter,
        ),
        ("2D, size wraps 32 bits", 0x8000, 0x8001, OutOfMemory),
        ("2D, size wraps to 0", 0x8000, 0x8000, OutOfMemory),
        ("2D, size wraps to little", 1 << 29, 8, OutOfMemory),
        ("2D, huge", u32::MAX / 4, u32::MAX, OutOfMemory),
        ("2D, all ones", u32::MAX, u32::MAX, InvalidParameter),
        ("2D, very high", 1, u32::MAX, OutOfMemory),
        ("2D, width 0", 0, 4, InvalidParameter),
        ("2D, height 0", 4, 0, InvalidParameter),
        ("2D, nothing at all", 0, 0, InvalidParameter),
    ]
    .into_iter()
    .map(|(name, width, height, code)| Row::command(name, &[], create_2d(1, width, height), code))
}

fn ids() -> impl Iterator<Item = Row> {
    let flat = create_2d(1, 4, 4);
    [
        Row::command("2D, id 0", &[], create_2d(0, 4, 4), InvalidResourceId),
        Row::command(
            "2D, id twice",
            std::slice::from_ref(&flat),
            flat.clone(),
            InvalidResourceId,
        ),
        Row::command(
            "2D, id of a blob",
            &[host_blob(1, 4096)],
            flat.clone(),
            InvalidResourceId,
        ),
        Row::command(
            "2D, id of a dead one",
            &[flat.clone(), unref(1)],
            flat.clone(),
            OK,
        ),
        Row::command("2D, the highest id", &[], create_2d(u32::MAX, 4, 4), OK),
        Row::command("unref nothing", &[], unref(1), InvalidResourceId),
        Row::command("unref 0", &[], unref(0), InvalidResourceId),
        Row::command(
            "unref twice",
            &[flat, unref(1)],
            unref(1),
            InvalidResourceId,
        ),
    ]
    .into_iter()
}
