//! Blobs: how many there can be, and with how many descriptors.

use std::os::fd::AsRawFd;

use anyhow::ensure;
use landbridge_hostile::commands::{assign_uuid, create_2d, guest_blob, host_blob};
use landbridge_protocol_gpu::ErrorCode::{InvalidResourceId, OutOfMemory};
use landbridge_transport::guest::PAGE;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::machine::RESOURCES;
use crate::row::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
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
