//! UUIDs: given once, to what is there, for as long as it is there.

use landbridge_protocol_gpu::ErrorCode::{InvalidParameter, InvalidResourceId, Unspecified};
use landbridge_protocol_gpu::{BlobFlags, BlobMem, ResponseKind};
use landbridge_transport::guest::PAGE;

use crate::commands::{assign_uuid, blob, create_2d, detach, guest_blob, host_blob, unref};
use crate::layout::DATA;
use crate::row::Row;

pub(super) fn rows() -> Vec<Row> {
    let page = [(DATA, 4096)];
    let own = BlobFlags::MAPPABLE | BlobFlags::SHAREABLE;
    vec![
        Row::command("UUID of nothing", &[], assign_uuid(1), InvalidResourceId),
        Row::command("UUID of resource 0", &[], assign_uuid(0), InvalidResourceId),
        Row::command(
            "UUID of a dead resource",
            &[host_blob(1, PAGE), assign_uuid(1), unref(1)],
            assign_uuid(1),
            InvalidResourceId,
        ),
        Row::command(
            "UUID of what was not made for other devices",
            &[blob(1, BlobMem::Host3d, own, PAGE, &[])],
            assign_uuid(1),
            InvalidParameter,
        ),
        Row::command(
            "UUID of no memory",
            &[guest_blob(1, PAGE, &[])],
            assign_uuid(1),
            Unspecified,
        ),
        Row::command(
            "UUID of detached memory",
            &[guest_blob(1, PAGE, &page), detach(1)],
            assign_uuid(1),
            Unspecified,
        ),
        Row::command(
            "UUID of a 2D resource",
            &[create_2d(1, 4, 4)],
            assign_uuid(1),
            ResponseKind::OkResourceUuid,
        ),
    ]
}
