//! Blobs whose memory is taken away: the guest gets errors, the device lives.

use std::time::Duration;

use landbridge_device_gpu::{Gpu, Mode};
use landbridge_exchange::importers::scanout::Failing;
use landbridge_exchange::terms::MemoryModel;
use landbridge_protocol_gpu::{Command, ErrorCode, MapCaching, MemEntry, Rect, Response};

use crate::harness::*;

const SOON: Duration = Duration::from_millis(200);
const PICTURE: Rect = Rect {
    x: 0,
    y: 0,
    width: 16,
    height: 16,
};

fn rig(failing: Failing) -> Rig {
    let mode = Mode::HostVisible { window: 1 << 20 };
    Rig::with(mode, |config| {
        config
            .with_host_model(MemoryModel::Revocable { restorable: true })
            .with_scanouts(failing)
    })
}

fn alive(gpu: &Gpu) -> usize {
    gpu.status().resources.len()
}

#[test]
fn commands_on_a_revoked_blob_are_clean_errors_until_it_is_back() {
    let rig = rig(Failing::Allowed);
    rig.ok(&host_blob(1, 4096));
    rig.ok(&host_blob(2, 4096));
    rig.ask(&map(1, 0));
    rig.ok(&Command::SetScanoutBlob(picture(0, 1, 16, 16)));
    let buffer = rig.buffer(1);
    let zeroes = rig.mapper.hold_up_after(1);
    buffer.revoke(SOON).unwrap();
    assert_eq!(rig.mapper.mapped(), [], "the guest does not reach it");
    drop(zeroes);

    rig.refused(ErrorCode::Unspecified, &flush(1, PICTURE));
    let scanout = Command::SetScanoutBlob(picture(0, 1, 16, 16));
    rig.refused(ErrorCode::Unspecified, &scanout);
    let other = Command::SetScanoutBlob(picture(1, 1, 16, 16));
    rig.refused(ErrorCode::Unspecified, &other);
    let shown = rig.gpu.scanout(0).unwrap();
    shown.read(SOON).map(drop).unwrap_err();
    // What needs no memory works, and so do other blobs.
    rig.ask(&assign_uuid(1));
    assert_eq!(
        rig.ask(&map(2, 8192)),
        Response::OkMapInfo(MapCaching::Cached)
    );

    buffer.restore(SOON).unwrap();
    assert_eq!(rig.mapper.mapped(), [(0, 4096), (8192, 4096)]);
    rig.ok(&flush(1, PICTURE));
    shown.read(SOON).unwrap().end().unwrap();
    drop(shown);

    buffer.revoke(SOON).unwrap();
    rig.ok(&unmap(1));
    rig.refused(ErrorCode::Unspecified, &map(1, 0));
    drop(buffer);
    rig.ok(&unref(1));
    assert_eq!(alive(&rig.gpu), 1);
    rig.ok(&unref(2));
    rig.assert_empty();
}

#[test]
fn a_transfer_into_revoked_memory_is_refused_and_none_is_lost() {
    let rig = rig(Failing::Allowed);
    rig.ok(&create_2d(1, 16, 16));
    rig.ok(&attach(1, &[MemEntry::new(LOW, 4096)]));
    rig.poke(LOW, &[7; 1024]);
    rig.ok(&transfer(1, PICTURE, 0));
    let buffer = rig.buffer(1);
    buffer.revoke(SOON).unwrap();
    rig.refused(ErrorCode::Unspecified, &transfer(1, PICTURE, 0));
    buffer.restore(SOON).unwrap();
    rig.ok(&set_scanout(0, 1, PICTURE));
    let image = rig.gpu.scanout(0).unwrap();
    let access = image.read(SOON).unwrap();
    let mut row = [0; 64];
    access.row(0, &mut row).unwrap();
    assert_eq!(row, [7; 64]);
    access.end().unwrap();
    rig.ok(&transfer(1, PICTURE, 0));
}

#[test]
fn a_device_whose_scanouts_must_not_fail_shows_no_revocable_blob() {
    let rig = rig(Failing::Never);
    rig.ok(&host_blob(1, 4096));
    let scanout = Command::SetScanoutBlob(picture(0, 1, 16, 16));
    rig.refused(ErrorCode::InvalidParameter, &scanout);
    assert!(rig.gpu.scanout(0).is_none());
    rig.ok(&unref(1));
    rig.assert_empty();
}
