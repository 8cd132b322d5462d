//! Blobs of all kinds, their scanouts and their identity.

use std::sync::Arc;
use std::time::Duration;

use landbridge_device_gpu::Mode;
use landbridge_device_gpu::display::Event;
use landbridge_dmabuf::Identity;
use landbridge_exchange::exporters::fake::FakeJoiner;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::{Buffer, Error};
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Box3d, Command, ContextInit, ContextName, CtxCreate, Cursor,
    CursorPosition, ErrorCode, Format, MemEntry, Rect, ResourceCreateBlob, Response, Transfer3d,
};

use crate::harness::*;

/// A decoder's frame: all of the buffer is `byte`.
fn decode(rig: &Rig, buffer: &Buffer, byte: u8) -> Result<(), Error> {
    let decoder = Arc::new(DecoderImport::attach(buffer, "decoder", &rig.tenant)?);
    decoder.queue("frame").write(Duration::ZERO, |bytes| {
        bytes.fill(byte);
        Ok(())
    })
}

#[test]
fn a_guest_blob_is_shown_from_the_guests_own_pages() {
    let rig = Rig::guest_import();
    let entries = [MemEntry::new(HIGH, 4096), MemEntry::new(LOW, 4096)];
    rig.ok(&blob(BlobMem::Guest, 1, 8192, &entries));
    rig.ok(&Command::SetScanoutBlob(picture(0, 1, 32, 64)));
    rig.poke(HIGH, &[1; 4096]);
    rig.poke(LOW, &[2; 4096]);
    // The Linux driver transfers its dumb buffers even where there is nothing
    // to transfer.
    rig.ok(&Command::ResourceFlush(
        landbridge_protocol_gpu::ResourceFlush {
            rect: Rect::of_size(32, 64),
            resource_id: 1,
        },
    ));
    rig.ok(&transfer(1, Rect::of_size(32, 64), 0));
    let expected: Vec<u8> = [[1; 4096], [2; 4096]].concat();
    let shown = Event::Flushed {
        scanout: 0,
        size: (32, 64),
        damage: Rect::of_size(32, 64),
        pixels: Some(expected),
    };
    assert_eq!(rig.display.take(), [shown]);
    assert_eq!(rig.exchange.copied_bytes(), 0);
}

#[test]
fn a_guest_blob_may_lose_its_pages_and_get_others() {
    let rig = Rig::guest_import();
    rig.ok(&blob(BlobMem::Guest, 1, 4096, &[]));
    rig.refused(
        ErrorCode::Unspecified,
        &Command::SetScanoutBlob(picture(0, 1, 4, 4)),
    );
    rig.ok(&attach(1, &[MemEntry::new(LOW, 4096)]));
    rig.ok(&Command::SetScanoutBlob(picture(0, 1, 4, 4)));
    rig.ok(&detach(1));
    assert_eq!(rig.display.take(), [Event::Disabled(0)]);
    rig.ok(&attach(1, &[MemEntry::new(HIGH, 4096)]));
    rig.poke(HIGH, &[8; 64]);
    rig.ok(&Command::SetScanoutBlob(picture(0, 1, 4, 4)));
    rig.ok(&flush(1, Rect::of_size(4, 4)));
    let events = rig.display.take();
    assert!(
        matches!(&events[..], [Event::Flushed { pixels: Some(pixels), .. }] if pixels[..] == [8; 64]),
        "{events:?}"
    );
}

#[test]
fn the_three_sides_of_a_host_blob_see_one_file() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 1 << 16));
    let Response::OkResourceUuid(uuid) = rig.ask(&assign_uuid(1)) else {
        panic!("no UUID");
    };
    assert_eq!(
        rig.ask(&assign_uuid(1)),
        Response::OkResourceUuid(uuid),
        "for life"
    );
    let buffer = rig.exchange.lookup(uuid).expect("found by its UUID");
    let identity: Identity = buffer.identity().unwrap();

    decode(&rig, &buffer, 0x5a).unwrap();

    assert!(matches!(rig.ask(&map(1, 0x8000)), Response::OkMapInfo(_)));
    assert!(matches!(
        rig.mapper.calls()[..],
        [landbridge_exchange::importers::window::fake::Call::Map {
            file: Some(file),
            offset: 0x8000,
            len: 0x1_0000,
        }] if file == identity
    ));
    let mut set = picture(0, 1, 4, 1);
    set.format_code = Format::B8G8R8X8.code();
    rig.ok(&Command::SetScanoutBlob(set));
    let image = rig.gpu.scanout(0).unwrap();
    assert_eq!(image.buffer().identity(), Some(identity));
    let access = image.read(Duration::ZERO).unwrap();
    assert_eq!(
        access.to_rgba().unwrap(),
        [0x5a, 0x5a, 0x5a, 0xff].repeat(4)
    );
    access.end().unwrap();
    assert_eq!(rig.exchange.copied_bytes(), 0);
}

#[test]
fn a_decoder_gets_a_buffer_back_between_scanout_and_window() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    let buffer = rig.buffer(1);
    for round in 0..3 {
        decode(&rig, &buffer, round).unwrap();
        assert!(matches!(rig.ask(&map(1, 0)), Response::OkMapInfo(_)));
        rig.ok(&Command::SetScanoutBlob(picture(0, 1, 4, 4)));
        assert!(decode(&rig, &buffer, 9).is_err(), "in use");
        rig.ok(&set_scanout(0, 0, Rect::default()));
        rig.ok(&unmap(1));
    }
}

#[test]
fn a_shadowed_blob_copies_rows_of_bytes_and_counts_them() {
    let rig = Rig::new();
    let create = CtxCreate {
        init: ContextInit(0),
        name: ContextName::default(),
    };
    assert_eq!(
        rig.ask_in(1, &Command::CtxCreate(create)),
        Response::OkNoData
    );
    rig.ok(&blob(
        BlobMem::Host3dGuest,
        1,
        4096,
        &[MemEntry::new(LOW, 4096)],
    ));
    rig.poke(LOW + 100, b"landbridge");
    let copy = |x, offset| Transfer3d {
        region: Box3d {
            x,
            width: 10,
            height: 1,
            depth: 1,
            ..Box3d::default()
        },
        offset,
        resource_id: 1,
        ..Transfer3d::default()
    };
    let to = rig.ask_in(1, &Command::TransferToHost3d(copy(7, 100)));
    assert_eq!(to, Response::OkNoData);
    let from = rig.ask_in(1, &Command::TransferFromHost3d(copy(7, 200)));
    assert_eq!(from, Response::OkNoData);
    assert_eq!(rig.peek(LOW + 200, 10), b"landbridge");
    assert_eq!(rig.buffer(1).copied_bytes(), 20);
    for (x, offset) in [(4087, 0), (0, 4087), (u32::MAX, 0), (0, u64::MAX)] {
        let answer = rig.ask_in(1, &Command::TransferToHost3d(copy(x, offset)));
        assert_eq!(answer, Response::Error(ErrorCode::InvalidParameter));
    }
}

#[test]
fn flags_declare_what_a_blob_may_be_used_for() {
    let rig = Rig::new();
    let plain = Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: 1,
        mem: BlobMem::Host3d,
        flags: BlobFlags::empty(),
        blob_id: 0,
        size: 4096,
        entries: [][..].into(),
    });
    rig.ok(&plain);
    rig.refused(ErrorCode::InvalidParameter, &map(1, 0));
    rig.refused(ErrorCode::InvalidParameter, &assign_uuid(1));
}

#[test]
fn a_2d_resource_has_a_uuid_for_the_asking() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 4, 4));
    let Response::OkResourceUuid(uuid) = rig.ask(&assign_uuid(1)) else {
        panic!("no UUID");
    };
    assert!(rig.exchange.lookup(uuid).is_some());
    rig.ok(&unref(1));
    assert!(rig.exchange.lookup(uuid).is_none(), "gone with its buffer");
}

#[test]
fn a_cursor_is_shown_moved_and_hidden() {
    let rig = Rig::guest_import();
    rig.ok(&blob(
        BlobMem::Guest,
        1,
        16384,
        &[MemEntry::new(LOW, 16384)],
    ));
    let cursor = |x: i32, resource_id| Cursor {
        position: CursorPosition {
            scanout_id: 0,
            x: x.cast_unsigned(),
            y: 5,
        },
        resource_id,
        hot_x: 3,
        hot_y: 4,
    };
    rig.ok(&Command::UpdateCursor(cursor(10, 1)));
    rig.ok(&Command::MoveCursor(cursor(-7, 0)));
    rig.ok(&Command::UpdateCursor(cursor(0, 0)));
    rig.ok(&Command::UpdateCursor(cursor(1, 1)));
    rig.ok(&unref(1));
    let event = |shown, x| Event::Cursor {
        scanout: 0,
        shown,
        position: (x, 5),
        hot_spot: (3, 4),
    };
    assert_eq!(
        rig.display.take(),
        [
            event(true, 10),
            event(true, -7),
            event(false, 0),
            event(true, 1),
            event(false, 1)
        ]
    );
}

#[test]
fn a_guest_blob_is_a_dma_buf_where_it_can_be_and_a_shadow_never_is() {
    let rig = Rig::with(Mode::HostVisible { window: WINDOW }, |config| {
        config.with_joiner(Arc::new(FakeJoiner { most: 1 }))
    });
    let entries = [MemEntry::new(LOW, 4096), MemEntry::new(HIGH, 4096)];
    rig.ok(&blob(BlobMem::Guest, 1, 4096, &entries[..1]));
    rig.ok(&blob(BlobMem::Guest, 2, 8192, &entries));
    rig.ok(&blob(BlobMem::Host3dGuest, 3, 4096, &entries[..1]));
    let exporters = |rig: &Rig| {
        let buffers = rig.exchange.buffers();
        let told = buffers
            .iter()
            .map(|it| (it.exporter_name(), it.note().is_some()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        exporters(&rig),
        [
            ("udmabuf of guest pages", false),
            ("guest pages", true),
            ("guest pages", false),
            ("memfd", false)
        ]
    );
}
