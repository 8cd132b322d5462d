//! Transfers: rectangles and offsets that leave the resource or its backing.

use landbridge_protocol_gpu::ErrorCode::{
    InvalidContextId, InvalidParameter, InvalidResourceId, Unspecified,
};
use landbridge_protocol_gpu::{Box3d, Command, ControlHeader, Rect, Transfer3d};
use landbridge_transport::guest::PAGE;

use crate::commands::{
    attach, blob, create_2d, create_context, guest_blob, host_blob, rect, transfer,
};
use crate::layout::DATA;
use crate::row::{OK, Request, Row};
use landbridge_protocol_gpu::{BlobFlags, BlobMem};

pub(super) fn rows() -> Vec<Row> {
    let page = [(DATA, 4096)];
    let backed = [create_2d(1, 4, 4), attach(1, &page)];
    let whole = Rect::of_size(4, 4);
    let mut rows = vec![
        Row::command(
            "transfer without backing",
            &backed[..1],
            transfer(1, whole, 0),
            Unspecified,
        ),
        Row::command(
            "transfer of nothing",
            &[],
            transfer(1, whole, 0),
            InvalidResourceId,
        ),
        Row::command(
            "transfer of a host blob",
            &[host_blob(1, PAGE)],
            transfer(1, whole, 0),
            Unspecified,
        ),
        Row::command(
            "2D transfer of a guest blob",
            &[guest_blob(1, PAGE, &page)],
            transfer(1, whole, 0),
            OK,
        ),
        Row::command(
            "2D transfer of a shadowed blob",
            &[blob(1, BlobMem::Host3dGuest, BlobFlags::all(), PAGE, &page)],
            transfer(1, whole, 0),
            InvalidParameter,
        ),
        Row::command(
            "transfer of no pixels",
            &backed,
            transfer(1, Rect::default(), 0),
            OK,
        ),
    ];
    for (name, area, offset) in [
        ("too wide", rect(1, 0, 4, 1), 0),
        ("too high", rect(0, 1, 1, 4), 0),
        ("that starts outside", rect(4, 4, 1, 1), 0),
        ("whose x wraps", rect(u32::MAX, 0, 4, 1), 0),
        ("whose y wraps", rect(0, u32::MAX, 1, 2), 0),
        (
            "of all ones",
            rect(u32::MAX, u32::MAX, u32::MAX, u32::MAX),
            0,
        ),
        ("from the backing's end", whole, 4096),
        ("from a byte too late", whole, 4096 - 63),
        ("from beyond the backing", rect(0, 0, 1, 1), 1 << 40),
        ("whose offset wraps", whole, u64::MAX - 8),
        ("of no pixels from far away", Rect::default(), u64::MAX),
    ] {
        rows.push(Row::command(
            format!("transfer {name}"),
            &backed,
            transfer(1, area, offset),
            InvalidParameter,
        ));
    }
    rows.extend(three_d(&backed));
    rows
}

fn three_d(backed: &[Command<'static>]) -> Vec<Row> {
    let flat = Box3d {
        width: 4,
        height: 4,
        depth: 1,
        ..Box3d::default()
    };
    let good = Transfer3d {
        region: flat,
        resource_id: 1,
        ..Transfer3d::default()
    };
    let with = |change: &dyn Fn(&mut Transfer3d)| {
        let mut transfer = good;
        change(&mut transfer);
        transfer
    };
    let mut rows = vec![Row::command(
        "3D transfer in no context",
        backed,
        Command::TransferToHost3d(good),
        InvalidContextId,
    )];
    for (name, change) in [
        ("of depth 0", with(&|it| it.region.depth = 0)),
        ("of depth 2", with(&|it| it.region.depth = 2)),
        ("of layer 1", with(&|it| it.region.z = 1)),
        ("of level 9", with(&|it| it.level = 9)),
        ("too wide", with(&|it| it.region.width = 5)),
        ("that wraps", with(&|it| it.region.x = u32::MAX)),
        ("of a stride below a row", with(&|it| it.stride = 15)),
        ("of a huge stride", with(&|it| it.stride = u32::MAX)),
        ("from far away", with(&|it| it.offset = u64::MAX - 15)),
    ] {
        for (way, command) in [
            ("to", Command::TransferToHost3d(change)),
            ("from", Command::TransferFromHost3d(change)),
        ] {
            let header = ControlHeader::in_context(7);
            let mut before: Vec<_> = backed.iter().map(Request::ok).collect();
            before.push(Request::with_header(header, &create_context(0), OK));
            rows.push(Row::requests(
                format!("3D transfer {way} the host {name}"),
                before,
                Request::with_header(header, &command, InvalidParameter),
            ));
        }
    }
    rows
}
