//! Commands before and without the negotiation of what they need.

use landbridge_protocol_gpu::ErrorCode::{InvalidParameter, Unspecified};
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, CapsetId, Command, ControlHeader, Features, GetCapset, GetCapsetInfo,
    GetEdid, ResourceCreate3d, Submit3d, Transfer3d,
};
use landbridge_transport::guest::PAGE;

use crate::commands::{
    assign_uuid, attach_to_context, blob, create_2d, create_context, detach_from_context,
    guest_blob, host_blob, map, show, unmap,
};
use crate::layout::DATA;
use crate::row::{OK, Row};

/// Commands, and the features without which they don't exist.
pub fn commands() -> Vec<(Features, Command<'static>)> {
    let edid = Command::GetEdid(GetEdid { scanout_id: 0 });
    let mut all = vec![
        (Features::EDID, edid),
        (Features::RESOURCE_UUID, assign_uuid(1)),
    ];
    all.extend(
        [
            host_blob(1, PAGE),
            guest_blob(1, PAGE, &[(DATA, 4096)]),
            map(1, 0),
            unmap(1),
            show(0, 1, 4, 4),
        ]
        .map(|command| (Features::RESOURCE_BLOB, command)),
    );
    all.extend(
        [
            create_context(0),
            Command::CtxDestroy,
            attach_to_context(1),
            detach_from_context(1),
            Command::ResourceCreate3d(ResourceCreate3d::default()),
            Command::TransferToHost3d(Transfer3d::default()),
            Command::TransferFromHost3d(Transfer3d::default()),
            Command::Submit3d(Submit3d {
                stream: [][..].into(),
            }),
            Command::GetCapsetInfo(GetCapsetInfo { index: 0 }),
            Command::GetCapset(GetCapset {
                id: CapsetId::VIRGL,
                version: 0,
            }),
        ]
        .map(|command| (Features::VIRGL, command)),
    );
    all
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, (features, command)) in commands().into_iter().enumerate() {
        let name = format!("{:?} ({number})", command.kind());
        let header = ControlHeader::in_context(1);
        for (how, missing) in [("its feature", features), ("any feature", Features::all())] {
            rows.push(
                Row::with_header(
                    format!("{name} without {how}"),
                    &[],
                    header,
                    command.clone(),
                    Unspecified,
                )
                .without(missing),
            );
        }
    }
    rows.extend(meanings());
    rows
}

/// What a command means when less was negotiated.
fn meanings() -> Vec<Row> {
    let cross = |mem| blob(1, mem, BlobFlags::CROSS_DEVICE, PAGE, &[]);
    let header = ControlHeader::in_context(5);
    vec![
        Row::command(
            "a blob for other devices without UUIDs",
            &[],
            cross(BlobMem::Guest),
            InvalidParameter,
        )
        .without(Features::RESOURCE_UUID),
        Row::command(
            "a blob for the guest alone without UUIDs",
            &[],
            blob(1, BlobMem::Host3d, BlobFlags::MAPPABLE, PAGE, &[]),
            OK,
        )
        .without(Features::RESOURCE_UUID),
        Row::command(
            "a host blob without VIRGL",
            &[],
            blob(1, BlobMem::Host3d, BlobFlags::MAPPABLE, PAGE, &[]),
            InvalidParameter,
        )
        .without(Features::VIRGL),
        Row::command(
            "a shadowed blob without VIRGL",
            &[],
            blob(1, BlobMem::Host3dGuest, BlobFlags::MAPPABLE, PAGE, &[]),
            InvalidParameter,
        )
        .without(Features::VIRGL),
        Row::with_header(
            "a context's capset without CONTEXT_INIT means nothing",
            &[],
            header,
            create_context(4),
            OK,
        )
        .without(Features::CONTEXT_INIT),
        Row::with_header(
            "a ring without CONTEXT_INIT means nothing",
            &[],
            header.with_fence(3).with_ring(200),
            create_2d(1, 4, 4),
            OK,
        )
        .without(Features::CONTEXT_INIT),
        Row::with_header(
            "CONTEXT_INIT without VIRGL",
            &[],
            header,
            create_context(0),
            Unspecified,
        )
        .without(Features::VIRGL),
        Row::command("2D without any feature", &[], create_2d(1, 4, 4), OK)
            .without(Features::all()),
    ]
}
