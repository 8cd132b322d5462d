//! The host-visible window: maps, and the VMM's part in them.

use std::thread;

use landbridge_device::Device;
use landbridge_exchange::importers::window::fake::{Call, Mood};
use landbridge_protocol_gpu::{ControlHeader, ErrorCode, MapCaching, Response};

use crate::harness::*;

#[test]
fn a_map_says_how_the_guest_must_map() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 8192));
    assert_eq!(
        rig.ask(&map(1, 4096)),
        Response::OkMapInfo(MapCaching::Cached)
    );
    assert_eq!(rig.mapper.mapped(), [(4096, 8192)]);
    assert_eq!(rig.gpu.status().resources[0].mapped_at, Some(4096));
    rig.ok(&unmap(1));
    assert_eq!(rig.mapper.mapped(), []);
    assert_eq!(rig.ask(&map(1, 0)), Response::OkMapInfo(MapCaching::Cached));
}

#[test]
fn unref_unmaps() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    rig.ask(&map(1, 0));
    rig.ok(&unref(1));
    assert_eq!(rig.mapper.mapped(), []);
    rig.assert_empty();
}

#[test]
fn a_refusal_of_the_vmm_is_no_success_and_can_be_tried_again() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    rig.mapper.set_mood(Mood::RefusingWithProof);
    rig.refused(ErrorCode::Unspecified, &map(1, 0));
    assert_eq!(rig.gpu.status().maps, 0);
    rig.mapper.set_mood(Mood::Obliging);
    assert!(matches!(rig.ask(&map(1, 0)), Response::OkMapInfo(_)));
}

#[test]
fn a_place_that_the_vmm_failed_to_unmap_stays_taken_until_a_reset() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    rig.ask(&map(1, 0));
    rig.mapper.set_mood(Mood::Refusing);
    rig.refused(ErrorCode::Unspecified, &unmap(1));
    rig.mapper.set_mood(Mood::Obliging);
    rig.refused(ErrorCode::InvalidParameter, &map(1, 0));
    assert!(matches!(rig.ask(&map(1, 4096)), Response::OkMapInfo(_)));
    rig.reset();
    rig.assert_empty();
}

#[test]
fn the_tenants_limit_of_maps_is_out_of_memory() {
    let rig = Rig::new();
    for id in 1..=17 {
        rig.ok(&host_blob(id, 4096));
    }
    for id in 1..=16 {
        let offset = u64::from(id) * 4096;
        assert!(matches!(rig.ask(&map(id, offset)), Response::OkMapInfo(_)));
    }
    rig.refused(ErrorCode::OutOfMemory, &map(17, 0));
}

#[test]
fn a_reset_does_not_wait_for_a_vmm_that_does_not_answer() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    let held = rig.mapper.hold_up();
    thread::scope(|scope| {
        let mapping = scope.spawn(|| {
            let answer = rig.send(ControlHeader::default().with_fence(3), &map(1, 0));
            answer.recv().unwrap()
        });
        rig.mapper.wait_for_calls(1);
        // The device goes on meanwhile, and can be reset and used.
        rig.ok(&create_2d(2, 4, 4));
        rig.reset();
        rig.ok(&host_blob(1, 4096));
        drop(held);
        assert_eq!(mapping.join().unwrap(), b"", "the answer goes nowhere");
    });
    // The late mapping did not reach the new life's resource.
    assert_eq!(rig.gpu.status().resources[0].mapped_at, None);
    assert_eq!(rig.gpu.status().maps, 0);
    rig.assert_alive();
    rig.reset();
    rig.assert_empty();
}

#[test]
fn a_resource_destroyed_while_the_vmm_maps_it_is_unmapped_again() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    let held = rig.mapper.hold_up();
    thread::scope(|scope| {
        let mapping = scope.spawn(|| rig.ask(&map(1, 0)));
        rig.mapper.wait_for_calls(1);
        rig.refused(ErrorCode::InvalidParameter, &map(1, 0));
        rig.ok(&unref(1));
        drop(held);
        let answer = mapping.join().unwrap();
        assert_eq!(answer, Response::Error(ErrorCode::InvalidResourceId));
    });
    assert!(matches!(
        rig.mapper.calls()[..],
        [Call::Map { .. }, Call::Unmap { .. }]
    ));
    rig.assert_empty();
}

#[test]
fn only_a_host_visible_device_has_a_window() {
    let window = Rig::new().gpu.shared_memory().unwrap();
    assert_eq!((window.id, window.size), (1, WINDOW));
    let rig = Rig::guest_import();
    assert_eq!(rig.gpu.shared_memory(), None);
    rig.ok(&blob(landbridge_protocol_gpu::BlobMem::Guest, 1, 4096, &[]));
    rig.refused(ErrorCode::InvalidParameter, &map(1, 0));
}
