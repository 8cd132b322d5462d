//! Maps that stay in the window when the guest unmaps, for its next blob.

use std::time::Duration;

use landbridge_device_gpu::{GpuConfig, Mode};
use landbridge_exchange::importers::window::fake::{Call, Mood};
use landbridge_exchange::terms::MemoryModel;
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Command, ErrorCode, MapCaching, ResourceCreateBlob, Response,
};

use crate::harness::*;

const MAPPED: Response = Response::OkMapInfo(MapCaching::Cached);

fn rig_with(change: impl FnOnce(GpuConfig) -> GpuConfig) -> Rig {
    let mode = Mode::HostVisible { window: 1 << 30 };
    Rig::with(mode, |config| change(config.with_idle_maps(2)))
}

fn rig() -> Rig {
    rig_with(|config| config)
}

/// A blob that other devices can't ask for.
fn own_blob(id: u32, size: u64) -> Command<'static> {
    Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: id,
        mem: BlobMem::Host3d,
        flags: BlobFlags::MAPPABLE | BlobFlags::SHAREABLE,
        blob_id: 0,
        size,
        entries: Vec::new().into(),
    })
}

/// A blob's whole life.
fn live_once(rig: &Rig, id: u32, offset: u64) {
    rig.ok(&own_blob(id, PAGE));
    assert_eq!(rig.ask(&map(id, offset)), MAPPED);
    rig.ok(&unmap(id));
    rig.ok(&unref(id));
}

/// "map 0x0", "unmap 0x0": what the VMM was asked for, and where.
fn asked(rig: &Rig) -> Vec<String> {
    let calls = rig.mapper.calls().into_iter();
    let words = calls.map(|call| match call {
        Call::Map { offset, .. } => format!("map {offset:#x}"),
        Call::Unmap { offset, .. } => format!("unmap {offset:#x}"),
    });
    words.collect()
}

fn idle(rig: &Rig) -> (usize, usize) {
    let status = rig.gpu.status();
    (status.maps, status.idle_maps)
}

#[test]
fn the_next_blob_of_a_size_finds_a_map() {
    let rig = rig();
    let mut numbers = Vec::new();
    for id in 1..=5 {
        rig.ok(&own_blob(id, PAGE));
        assert_eq!(rig.ask(&map(id, 0x3000)), MAPPED);
        assert_eq!(idle(&rig), (1, 0));
        numbers.push(rig.buffer(id).id());
        rig.ok(&unmap(id));
        assert_eq!(rig.gpu.status().resources[0].mapped_at, None);
        assert_eq!(idle(&rig), (0, 1));
        rig.ok(&unref(id));
    }
    assert_eq!(asked(&rig), ["map 0x3000"]);
    numbers.dedup();
    assert_eq!(numbers.len(), 5, "a buffer's number is never used twice");
    assert_eq!(rig.exchange.buffers().len(), 1, "and one is paid for");
    rig.reset();
    rig.assert_empty();
}

#[test]
fn a_blob_that_is_mapped_again_keeps_its_buffer() {
    let rig = rig();
    rig.ok(&own_blob(1, PAGE));
    rig.ask(&map(1, 0));
    let buffer = rig.buffer(1).id();
    rig.ok(&unmap(1));
    rig.refused(ErrorCode::InvalidParameter, &unmap(1));
    assert_eq!(rig.ask(&map(1, 0)), MAPPED);
    assert_eq!(asked(&rig), ["map 0x0"]);
    rig.ok(&unmap(1));
    assert_eq!(rig.ask(&map(1, 0x2000)), MAPPED);
    assert_eq!(asked(&rig), ["map 0x0", "unmap 0x0", "map 0x2000"]);
    assert_eq!(rig.buffer(1).id(), buffer);
}

#[test]
fn a_blob_that_is_not_destroyed_keeps_its_memory() {
    let rig = rig();
    rig.ok(&own_blob(1, PAGE));
    rig.ask(&map(1, 0));
    rig.ok(&unmap(1));
    rig.ok(&own_blob(2, PAGE));
    assert_ne!(rig.buffer(1).identity(), rig.buffer(2).identity());
    // The place is free for the guest all the same.
    assert_eq!(rig.ask(&map(2, 0)), MAPPED);
    assert_eq!(asked(&rig), ["map 0x0", "unmap 0x0", "map 0x0"]);
    assert_eq!(rig.ask(&map(1, PAGE)), MAPPED);
}

#[test]
fn blobs_that_take_turns_each_find_a_map() {
    // As with Linux, whose driver gives a place back when the device has answered,
    // so that the next blob comes to lie beside the last.
    let rig = rig();
    for id in 1..=10 {
        live_once(&rig, id, u64::from(id % 2) * PAGE);
    }
    assert_eq!(asked(&rig), ["map 0x1000", "map 0x0"]);
}

#[test]
fn a_blob_that_is_in_use_keeps_its_own_memory() {
    let rig = rig();
    live_once(&rig, 1, 0);
    rig.ok(&own_blob(2, PAGE));
    let buffer = rig.buffer(2).id();
    rig.ok(&Command::SetScanoutBlob(picture(0, 2, 16, 16)));
    assert_eq!(rig.ask(&map(2, 0)), MAPPED);
    assert_eq!(rig.buffer(2).id(), buffer);
    assert_eq!(asked(&rig), ["map 0x0", "unmap 0x0", "map 0x0"]);
    // Nor does one that was mapped before: there may be something in it.
    live_once(&rig, 3, PAGE);
    rig.ok(&unmap(2));
    assert_eq!(rig.ask(&map(2, PAGE)), MAPPED);
    assert_eq!(rig.buffer(2).id(), buffer);
}

#[test]
fn what_is_in_the_way_goes_first() {
    let rig = rig();
    live_once(&rig, 1, 0x1000);
    live_once(&rig, 2, 0x1000);
    rig.ok(&own_blob(3, 4 * PAGE));
    assert_eq!(rig.ask(&map(3, 0)), MAPPED);
    assert_eq!(asked(&rig), ["map 0x1000", "unmap 0x1000", "map 0x0"]);
    assert_eq!(idle(&rig), (1, 0));
}

#[test]
fn so_many_are_kept_and_no_more_bytes_than_those() {
    let rig =
        rig_with(|config| config.with_host_model(MemoryModel::Revocable { restorable: true }));
    for id in 1..=3 {
        rig.ok(&own_blob(id, PAGE));
        rig.ask(&map(id, u64::from(id) * PAGE));
    }
    for id in 1..=3 {
        rig.ok(&unmap(id));
        rig.ok(&unref(id));
    }
    assert_eq!(idle(&rig), (0, 2));
    assert_eq!(rig.mapper.mapped(), [(0x2000, PAGE), (0x3000, PAGE)]);
    let large = 40 << 20;
    rig.ok(&own_blob(4, large));
    rig.ask(&map(4, large));
    rig.ok(&unmap(4));
    assert_eq!(idle(&rig), (0, 0), "the oldest go until the rest is small");
    assert_eq!(rig.mapper.mapped(), []);
}

#[test]
fn what_another_device_may_want_alone_is_unmapped() {
    let rig = rig();
    live_once(&rig, 1, 0x8000);
    rig.ok(&host_blob(2, PAGE));
    rig.ask(&map(2, 0));
    rig.ok(&unmap(2));
    // The idle one first: it may be what keeps a VMM from withdrawing the other.
    let all = ["map 0x8000", "map 0x0", "unmap 0x8000", "unmap 0x0"];
    assert_eq!(asked(&rig), all);
}

#[test]
fn memory_that_somebody_else_holds_is_nobodys_next() {
    let rig = rig();
    rig.ok(&own_blob(1, PAGE));
    rig.ask(&map(1, 0));
    rig.ok(&Command::SetScanoutBlob(picture(0, 1, 16, 16)));
    let before = rig.buffer(1).identity();
    let screenshot = rig.gpu.scanout(0).unwrap();
    rig.ok(&unmap(1));
    rig.ok(&unref(1));
    rig.ok(&own_blob(2, PAGE));
    assert_eq!(rig.ask(&map(2, 0)), MAPPED);
    assert_ne!(rig.buffer(2).identity(), before);
    assert_eq!(asked(&rig), ["map 0x0", "unmap 0x0", "map 0x0"]);
    drop(screenshot);
}

#[test]
fn a_revocation_reaches_idle_maps() {
    let rig =
        rig_with(|config| config.with_host_model(MemoryModel::Revocable { restorable: true }));
    live_once(&rig, 1, 0);
    let buffer = rig.exchange.buffers().remove(0);
    // Before the VMM has put zero pages there.
    let zeroes = rig.mapper.hold_up_after(1);
    buffer.revoke(Duration::ZERO).unwrap();
    assert_eq!(rig.mapper.mapped(), []);
    drop(zeroes);
    rig.ok(&own_blob(2, PAGE));
    assert_ne!(rig.buffer(2).identity(), buffer.identity());
    assert_eq!(rig.ask(&map(2, 0)), MAPPED);
    // The same once the next blob has its memory.
    rig.ok(&unmap(2));
    rig.ok(&unref(2));
    rig.ok(&own_blob(3, PAGE));
    assert_eq!(rig.ask(&map(3, 0)), MAPPED);
    let buffer = rig.buffer(3);
    let zeroes = rig.mapper.hold_up_after(1);
    buffer.revoke(Duration::ZERO).unwrap();
    assert_eq!(rig.mapper.mapped(), []);
    drop(zeroes);
    buffer.restore(Duration::ZERO).unwrap();
    assert_eq!(rig.mapper.mapped(), [(0, PAGE)]);
}

#[test]
fn a_limit_is_never_reached_by_idle_maps() {
    let rig = rig();
    live_once(&rig, 100, 0x10_0000);
    for id in 1..=16 {
        rig.ok(&host_blob(id, PAGE));
        assert_eq!(rig.ask(&map(id, u64::from(id) * PAGE)), MAPPED);
    }
    rig.reset();
    // 16 MiB are the most.
    live_once(&rig, 100, 0);
    rig.ok(&host_blob(1, 16 << 20));
    rig.ok(&unref(1));
    live_once(&rig, 100, 0);
    rig.ok(&create_2d(2, 2048, 2048));
    assert_eq!(idle(&rig), (0, 0));
}

#[test]
fn a_vmm_that_does_not_unmap_loses_the_place_only() {
    let rig = rig();
    live_once(&rig, 1, 0);
    rig.mapper.set_mood(Mood::Refusing);
    rig.ok(&own_blob(2, 2 * PAGE));
    rig.refused(ErrorCode::InvalidParameter, &map(2, 0));
    rig.mapper.set_mood(Mood::Obliging);
    rig.refused(ErrorCode::InvalidParameter, &map(2, 0));
    assert_eq!(rig.ask(&map(2, 0x4000)), MAPPED);
    rig.reset();
    rig.assert_empty();
}
