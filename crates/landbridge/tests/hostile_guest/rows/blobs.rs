//! Blobs: sizes, flags and memory types that can't be.

use std::os::fd::AsRawFd;

use anyhow::ensure;
use landbridge_protocol_gpu::ErrorCode::{
    InvalidContextId, InvalidParameter, InvalidResourceId, OutOfMemory,
};
use landbridge_protocol_gpu::{BlobFlags, BlobMem, Command, ControlHeader, ResourceCreateBlob};
use landbridge_transport::guest::PAGE;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::commands::{assign_uuid, blob, create_2d, guest_blob, host_blob, patched, show};
use crate::machine::{LIMITS, RESOURCES, data_address};
use crate::row::Row;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let page = [(data_address(), 4096)];
    for (name, size, code) in [
        ("of size 0", 0, InvalidParameter),
        ("of one byte", 1, InvalidParameter),
        ("of a page and a byte", PAGE + 1, InvalidParameter),
        (
            "of more than the guest may pin",
            LIMITS.pinned_bytes + PAGE,
            OutOfMemory,
        ),
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
    rows.extend(limits());
    rows
}

fn fields() -> Vec<Row> {
    let page = [(data_address(), 4096)];
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
        Row::script(
            "a refused blob is not there to be shown",
            InvalidResourceId,
            move |machine| {
                let seen = machine.ask(&guest_blob(1, 1 << 20, &page))?;
                ensure!(seen == InvalidParameter.into(), "{seen:?}");
                machine.ask(&show(0, 1, 256, 256))
            },
        ),
    ];
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

fn limits() -> Vec<Row> {
    vec![
        Row::script(
            "blobs until the limit, and one more",
            OutOfMemory,
            |machine| {
                for id in 1..=LIMITS.buffers as u32 {
                    machine.ok(&host_blob(id, PAGE))?;
                }
                machine.ask(&host_blob(1000, PAGE))
            },
        )
        .then_reset(),
        Row::script(
            "blobs without memory until there are too many",
            OutOfMemory,
            |machine| {
                // They cost no memory but that of their names.
                for id in 1..=RESOURCES as u32 {
                    machine.ok(&guest_blob(id, PAGE, &[]))?;
                }
                machine.ask(&guest_blob(1000, PAGE, &[]))
            },
        )
        .then_reset(),
        Row::script("export without a descriptor left", OutOfMemory, |machine| {
            let before = getrlimit(Resource::Nofile);
            // As many as there are, so that what is open goes on working.
            let lowest_free = std::fs::File::open("/dev/null")?.as_raw_fd();
            let none = Rlimit {
                current: Some(lowest_free as u64),
                ..before
            };
            setrlimit(Resource::Nofile, none)?;
            let answers = [
                machine.ask(&host_blob(1, PAGE)),
                machine.ask(&create_2d(2, 4, 4)),
                machine.ask(&assign_uuid(1)),
            ];
            setrlimit(Resource::Nofile, before)?;
            let [blob, flat, uuid] = answers;
            ensure!(uuid? == InvalidResourceId.into(), "the blob is there");
            let (blob, flat) = (blob?, flat?);
            ensure!(blob == flat, "{blob:?}, {flat:?}");
            Ok(blob)
        }),
    ]
}
