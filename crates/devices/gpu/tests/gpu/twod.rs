//! 2D resources: backing, transfer, scanout, flush.

use landbridge_device_gpu::display::Event;
use landbridge_protocol_gpu::{
    Box3d, Command, ContextInit, ContextName, CtxCreate, ErrorCode, Format, MemEntry, Rect,
    ResourceCreate2d, Response, Transfer3d,
};

use crate::harness::*;

/// Backing of two pages out of order, from both files, plus a part of a page.
const ENTRIES: [(u64, u32); 3] = [(HIGH, 4096), (LOW + 4096, 4096), (LOW, 100)];

fn entries() -> Vec<MemEntry> {
    ENTRIES.map(|(at, len)| MemEntry::new(at, len)).to_vec()
}

#[test]
fn a_picture_gets_from_scattered_guest_pages_to_the_display() {
    let rig = Rig::new();
    // 40 x 51 pixels are 8160 bytes: two pages, a bit less.
    rig.ok(&create_2d(1, 40, 51));
    rig.ok(&attach(1, &entries()));
    let picture: Vec<u8> = (0..8160u32).map(|byte| (byte % 251) as u8).collect();
    rig.poke(HIGH, &picture[..4096]);
    rig.poke(LOW + 4096, &picture[4096..]);
    rig.ok(&set_scanout(0, 1, Rect::of_size(40, 51)));
    rig.ok(&transfer(1, Rect::of_size(40, 51), 0));
    rig.ok(&flush(1, Rect::of_size(40, 51)));
    let shown = Event::Flushed {
        scanout: 0,
        size: (40, 51),
        damage: Rect::of_size(40, 51),
        pixels: Some(picture),
    };
    assert_eq!(rig.display.take(), [shown]);
    assert_eq!(rig.exchange.copied_bytes(), 8160, "the copy is counted");
    assert_eq!(rig.gpu.status().metrics.transferred_bytes, 8160);
}

#[test]
fn a_transfer_writes_its_rectangle_and_nothing_else() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 4, 4));
    rig.ok(&attach(1, &[MemEntry::new(LOW, 4096)]));
    rig.poke(LOW, &[9; 4096]);
    let rect = Rect {
        x: 1,
        y: 2,
        width: 2,
        height: 1,
    };
    rig.ok(&transfer(1, rect, 64));
    rig.ok(&set_scanout(0, 1, Rect::of_size(4, 4)));
    rig.ok(&flush(1, rect));
    let mut expected = vec![0; 64];
    expected[36..44].fill(9);
    let shown = Event::Flushed {
        scanout: 0,
        size: (4, 4),
        damage: rect,
        pixels: Some(expected),
    };
    assert_eq!(rig.display.take(), [shown]);
    assert_eq!(rig.exchange.copied_bytes(), 8);
}

#[test]
fn every_format_reaches_the_display_as_red_green_blue() {
    let rig = Rig::new();
    for (id, format) in (1..).zip(Format::ALL) {
        rig.ok(&Command::ResourceCreate2d(ResourceCreate2d {
            resource_id: id,
            format,
            width: 1,
            height: 1,
        }));
        rig.ok(&attach(id, &[MemEntry::new(LOW, 4)]));
        let mut pixel = [0x44; 4];
        for (channel, offset) in format.rgb_offsets().into_iter().enumerate() {
            pixel[offset] = channel as u8 + 1;
        }
        rig.poke(LOW, &pixel);
        rig.ok(&transfer(id, Rect::of_size(1, 1), 0));
        rig.ok(&set_scanout(0, id, Rect::of_size(1, 1)));
        let image = rig.gpu.scanout(0).unwrap();
        let access = image.read(std::time::Duration::ZERO).unwrap();
        let alpha = format.alpha_offset().map_or(0xff, |_| 0x44);
        assert_eq!(access.to_rgba().unwrap(), [1, 2, 3, alpha], "{format:?}");
        access.end().unwrap();
    }
}

fn context() -> CtxCreate {
    CtxCreate {
        init: ContextInit(0),
        name: ContextName::new(b"test").unwrap(),
    }
}

#[test]
fn three_d_transfers_serve_2d_resources_in_both_directions() {
    let rig = Rig::new();
    assert_eq!(
        rig.ask_in(5, &Command::CtxCreate(context())),
        Response::OkNoData
    );
    rig.ok(&create_2d(1, 2, 2));
    rig.ok(&attach(1, &[MemEntry::new(LOW, 4096)]));
    rig.poke(LOW, &[3; 16]);
    let mut copy = Transfer3d {
        region: Box3d {
            width: 2,
            height: 2,
            depth: 1,
            ..Box3d::default()
        },
        resource_id: 1,
        ..Transfer3d::default()
    };
    assert_eq!(
        rig.ask_in(5, &Command::TransferToHost3d(copy)),
        Response::OkNoData
    );
    // Back to elsewhere, with rows further apart.
    copy.offset = 256;
    copy.stride = 32;
    assert_eq!(
        rig.ask_in(5, &Command::TransferFromHost3d(copy)),
        Response::OkNoData
    );
    let mut expected = vec![0; 48];
    expected[..8].fill(3);
    expected[32..40].fill(3);
    assert_eq!(rig.peek(LOW + 256, 48), expected);
    assert_eq!(
        rig.ask_in(6, &Command::TransferToHost3d(copy)),
        Response::Error(ErrorCode::InvalidContextId)
    );
}

#[test]
fn two_scanouts_show_two_parts_of_one_resource() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 8, 4));
    let part = |x, y| Rect {
        x,
        y,
        width: 4,
        height: 2,
    };
    rig.ok(&set_scanout(0, 1, part(0, 0)));
    rig.ok(&set_scanout(1, 1, part(4, 2)));
    let changed = Rect {
        x: 2,
        y: 1,
        width: 3,
        height: 2,
    };
    rig.ok(&flush(1, changed));
    let damages: Vec<_> = rig
        .display
        .take()
        .into_iter()
        .map(|event| match event {
            Event::Flushed {
                scanout, damage, ..
            } => (scanout, damage),
            other => panic!("{other:?}"),
        })
        .collect();
    let damage = |x, y, width, height| Rect {
        x,
        y,
        width,
        height,
    };
    assert_eq!(damages, [(0, damage(2, 1, 2, 1)), (1, damage(0, 0, 1, 1))]);
}

#[test]
fn unref_disables_the_scanout_and_frees_the_id() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 4, 4));
    rig.ok(&set_scanout(0, 1, Rect::of_size(4, 4)));
    rig.ok(&unref(1));
    assert_eq!(rig.display.take(), [Event::Disabled(0)]);
    assert!(rig.gpu.scanout(0).is_none());
    rig.ok(&create_2d(1, 4, 4));
    rig.ok(&unref(1));
    rig.assert_empty();
}

#[test]
fn resource_0_turns_a_scanout_off() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 4, 4));
    rig.ok(&set_scanout(0, 1, Rect::of_size(4, 4)));
    rig.ok(&set_scanout(0, 0, Rect::default()));
    rig.ok(&set_scanout(0, 0, Rect::default()));
    assert_eq!(rig.display.take(), [Event::Disabled(0)], "told once");
    rig.ok(&flush(1, Rect::of_size(4, 4)));
    assert_eq!(rig.display.take(), []);
}

#[test]
fn showing_another_part_keeps_the_attachment() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 4, 4));
    for side in 1..=4 {
        rig.ok(&set_scanout(0, 1, Rect::of_size(side, side)));
        assert_eq!(rig.buffer(1).importers().len(), 1);
        assert_eq!(rig.gpu.scanout(0).unwrap().layout().width(), side);
    }
}
