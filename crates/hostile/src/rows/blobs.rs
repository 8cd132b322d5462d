//! Blobs: sizes, flags and memory types that can't be.

use landbridge_protocol_gpu::ErrorCode::{
    InvalidContextId, InvalidParameter, InvalidResourceId, OutOfMemory,
};
use landbridge_protocol_gpu::{BlobFlags, BlobMem, Command, ControlHeader, ResourceCreateBlob};
use landbridge_transport::guest::PAGE;

use crate::commands::{blob, create_2d, guest_blob, host_blob, patched, show};
use crate::layout::{BUFFERS, BYTES, DATA};
use crate::row::{Request, Row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let page = [(DATA, 4096)];
    for (name, size, code) in [
        ("of size 0", 0, InvalidParameter),
        ("of one byte", 1, InvalidParameter),
        ("of a page and a byte", PAGE + 1, InvalidParameter),
        ("of more than the guest may pin", BYTES + PAGE, OutOfMemory),
        ("of 2^63 bytes", 1 << 63, OutOfMemory),
        ("whose size wraps", !0xfff, OutOfMemory),
        ("of 2^64 - 1 bytes", u64::MAX, InvalidParameter),
    ] {
        rows.push(Row::command(
            format!("host blob {name}"),
            &[],
            host_blob(1, size),
            code,
        ));
        let shadowed = blob(1, BlobMem::Host3dGuest, BlobFlags::all(), size, &[]);
        rows.push(Row::command(
            format!("shadowed blob {name}"),
            &[],
            shadowed,
            code,
        ));
        // Its memory is the guest's: too little of it is no lack of ours.
        let guest = guest_blob(1, size, &page);
        rows.push(Row::command(
            format!("guest blob {name}"),
            &[],
            guest,
            InvalidParameter,
        ));
    }
    rows.extend(fields());
    rows.push(
        Row::command(
            "blobs until the limit, and one more",
            &(1..=BUFFERS as u32)
                .map(|id| host_blob(id, PAGE))
                .collect::<Vec<_>>(),
            host_blob(1000, PAGE),
            OutOfMemory,
        )
        .then_reset(),
    );
    rows
}

fn fields() -> Vec<Row> {
    let page = [(DATA, 4096)];
    let host = host_blob(1, PAGE);
    let object = Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: 1,
        mem: BlobMem::Host3d,
        flags: BlobFlags::MAPPABLE,
        blob_id: 9,
        size: PAGE,
        entries: [][..].into(),
    });
    let mut rows = vec![
        Row::command("blob id 0", &[], host_blob(0, PAGE), InvalidResourceId),
        Row::command(
            "blob id of a 2D",
            &[create_2d(1, 4, 4)],
            host.clone(),
            InvalidResourceId,
        ),
        Row::command(
            "blob id twice",
            std::slice::from_ref(&host),
            host.clone(),
            InvalidResourceId,
        ),
        Row::command(
            "blob of a host object that is not there",
            &[],
            object,
            InvalidParameter,
        ),
        Row::with_header(
            "blob in no context",
            &[],
            ControlHeader::in_context(3),
            host.clone(),
            InvalidContextId,
        ),
        Row::command(
            "host blob with guest memory",
            &[],
            blob(1, BlobMem::Host3d, BlobFlags::all(), PAGE, &page),
            InvalidParameter,
        ),
        Row::command(
            "guest blob larger than its entries",
            &[],
            guest_blob(1, 2 * PAGE, &page),
            InvalidParameter,
        ),
        Row::command(
            "guest blob much larger than its entries",
            &[],
            guest_blob(1, 1 << 40, &page),
            InvalidParameter,
        ),
        Row::command(
            "shadowed blob larger than its entries",
            &[],
            blob(1, BlobMem::Host3dGuest, BlobFlags::all(), 2 * PAGE, &page),
            InvalidParameter,
        ),
    ];
    rows.push(Row::requests(
        "a refused blob is not there to be shown",
        vec![Request::ask(
            &guest_blob(1, 1 << 20, &page),
            InvalidParameter,
        )],
        Request::ask(&show(0, 1, 256, 256), InvalidResourceId),
    ));
    for mem in [0, 4, 0x100, u32::MAX] {
        rows.push(Row::bytes(
            format!("blob of memory type {mem}"),
            &[],
            0,
            patched(&host, 28, mem),
            InvalidParameter,
        ));
    }
    for flags in [8, 0x8000_0000, u32::MAX] {
        rows.push(Row::bytes(
            format!("blob with flags {flags:#x}"),
            &[],
            0,
            patched(&host, 32, flags),
            InvalidParameter,
        ));
    }
    rows
}
