//! A guest that means harm: every input that broke another device is refused
//! with the right code, leaves the device working, and leaks nothing.

mod attacks;

use std::fs;

use landbridge_device::Device;
use landbridge_device_gpu::display::Event;
use landbridge_device_gpu::{Bounds, Mode};
use landbridge_protocol_gpu::{
    BlobMem, CONTROL_QUEUE, CURSOR_QUEUE, Command, CommandKind, ContextInit, ContextName,
    ControlHeader, CtxCreate, Cursor, CursorPosition, ErrorCode, Features, MemEntry, Rect,
    Response, Submit3d,
};

use attacks::{backings, creations, maps, scanouts, three_d, transfers};

use crate::harness::*;

use ErrorCode::{InvalidParameter, OutOfMemory, Unspecified};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

#[test]
fn every_attack_is_refused_and_leaves_nothing_behind() {
    let _alone = alone();
    let rig = Rig::unguarded(Mode::HostVisible { window: WINDOW }, |config| config);
    rig.assert_alive();
    rig.reset();
    let (open, mapped) = (descriptors(), mappings());
    let tables = [
        creations(),
        backings(),
        transfers(),
        scanouts(),
        maps(),
        three_d(),
    ];
    for case in tables.into_iter().flatten() {
        for command in &case.before {
            let answer = rig.ask(command);
            assert!(
                !matches!(answer, Response::Error(_)),
                "{}: {command:?}: {answer:?}",
                case.name
            );
        }
        // Five times: a leak per attempt shows, and nothing gets used to it.
        for _ in 0..5 {
            assert_eq!(
                rig.ask(&case.attack),
                Response::Error(case.code),
                "{}",
                case.name
            );
        }
        rig.assert_alive();
        rig.reset();
        rig.assert_empty();
        assert_eq!(descriptors(), open, "{}: descriptors", case.name);
        assert_eq!(mappings(), mapped, "{}: mappings", case.name);
    }
}

#[test]
fn a_flood_of_set_scanout_attaches_once() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, PAGE));
    rig.ok(&create_2d(2, 4, 4));
    for _ in 0..1000 {
        rig.ok(&Command::SetScanoutBlob(picture(0, 1, 4, 4)));
        rig.ok(&set_scanout(0, 2, Rect::of_size(4, 4)));
    }
    assert_eq!(rig.buffer(1).importers().len(), 0);
    assert_eq!(rig.buffer(2).importers().len(), 1);
    assert_eq!(rig.gpu.status().metrics.commands, 2002);
}

#[test]
fn a_reset_with_everything_in_use_leaves_nothing() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 64, 64));
    rig.ok(&attach(1, &[MemEntry::new(LOW, 16384)]));
    rig.ok(&transfer(1, Rect::of_size(64, 64), 0));
    rig.ok(&set_scanout(0, 1, Rect::of_size(64, 64)));
    rig.ok(&host_blob(2, PAGE));
    rig.ask(&map(2, 0));
    rig.ask(&assign_uuid(2));
    rig.ok(&Command::SetScanoutBlob(picture(1, 2, 4, 4)));
    rig.ok(&Command::UpdateCursor(Cursor {
        position: CursorPosition::default(),
        resource_id: 1,
        hot_x: 0,
        hot_y: 0,
    }));
    let calls = rig.mapper.calls().len();
    rig.gpu.reset();
    rig.assert_empty();
    assert_eq!(rig.mapper.calls().len(), calls, "the VMM is not asked");
    let events = rig.display.take();
    assert_eq!(
        events[events.len() - 2..],
        [Event::Disabled(0), Event::Disabled(1)]
    );
}

#[test]
fn nothing_works_before_its_feature_is_negotiated() {
    let rig = Rig::new();
    let refuse = |features: Features, command: &Command<'_>| {
        rig.gpu.reset();
        rig.gpu.activate(without(&rig.gpu, features));
        assert_eq!(
            rig.ask(command),
            Response::Error(Unspecified),
            "{command:?}"
        );
    };
    let edid = Command::GetEdid(landbridge_protocol_gpu::GetEdid { scanout_id: 0 });
    refuse(Features::EDID, &edid);
    refuse(Features::RESOURCE_UUID, &assign_uuid(1));
    for command in [host_blob(1, PAGE), map(1, 0), unmap(1)] {
        refuse(Features::RESOURCE_BLOB, &command);
    }
    refuse(
        Features::RESOURCE_BLOB,
        &Command::SetScanoutBlob(picture(0, 1, 4, 4)),
    );
    for attack in three_d() {
        refuse(Features::VIRGL, &attack.attack);
    }
    // Without VIRGL there is no host memory, without UUIDs no other device.
    rig.gpu.reset();
    rig.gpu.activate(without(&rig.gpu, Features::VIRGL));
    rig.refused(InvalidParameter, &host_blob(1, PAGE));
    rig.gpu.activate(without(&rig.gpu, Features::RESOURCE_UUID));
    rig.refused(InvalidParameter, &host_blob(1, PAGE));
    // A driver that accepts what was not offered gets none of it.
    let rig = Rig::guest_import();
    rig.gpu.activate(u64::MAX);
    rig.refused(InvalidParameter, &host_blob(1, PAGE));
    rig.refused(Unspecified, &Command::CtxDestroy);
}

#[test]
fn malformed_requests_are_answered_within_the_room_for_it() {
    let rig = Rig::new();
    let code = |answer: &[u8]| answer[..4].try_into().map(u32::from_le_bytes).unwrap();
    for len in 0..24 {
        let answer = rig.send_bytes(CONTROL_QUEUE, vec![0xff; len], 24).recv();
        assert_eq!(code(&answer.unwrap()), InvalidParameter.code());
    }
    let unknown = rig.send_bytes(CONTROL_QUEUE, vec![0xff; 24], 24).recv();
    assert_eq!(code(&unknown.unwrap()), Unspecified.code());
    for kind in CommandKind::ALL {
        let header = ControlHeader::default().with_fence(7);
        let mut bytes = Command::GetDisplayInfo.encode(&header);
        bytes[..4].copy_from_slice(&kind.code().to_le_bytes());
        for (queue, capacity) in [(CONTROL_QUEUE, 24), (CURSOR_QUEUE, 24), (9, 24), (0, 3)] {
            let answer = rig.send_bytes(queue, bytes.clone(), capacity).recv();
            assert!(answer.unwrap().len() <= capacity);
        }
    }
    assert_eq!(rig.gpu.status().fences, 0);
    rig.assert_alive();
}

#[test]
fn announced_lists_and_streams_must_be_there() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 4, 4));
    let header = ControlHeader::default();
    let mut list = attach(1, &[MemEntry::new(LOW, 4096)]).encode(&header);
    let count = list.len() - 20;
    for announced in [2, 1 << 28, u32::MAX] {
        list[count..count + 4].copy_from_slice(&announced.to_le_bytes());
        let answer = rig.send_bytes(CONTROL_QUEUE, list.clone(), 24);
        assert_eq!(response(&answer), Response::Error(InvalidParameter));
    }
    let stream = Command::Submit3d(Submit3d {
        stream: b"1234"[..].into(),
    });
    let mut bytes = stream.encode(&header);
    bytes.truncate(bytes.len() - 1);
    let answer = rig.send_bytes(CONTROL_QUEUE, bytes, 24);
    assert_eq!(response(&answer), Response::Error(InvalidParameter));
}

#[test]
fn counts_are_bounded() {
    let rig = Rig::with_bounds(Bounds {
        contexts: 2,
        context_resources: 1,
        ranges: 4,
        all_ranges: 6,
        ..Bounds::default()
    });
    let scattered: Vec<_> = (0..5)
        .map(|page| MemEntry::new(LOW + 2 * page * PAGE, 4096))
        .collect();
    for id in 1..=3 {
        rig.ok(&create_2d(id, 4, 4));
    }
    rig.refused(OutOfMemory, &attach(1, &scattered));
    rig.ok(&attach(1, &scattered[..4]));
    rig.refused(OutOfMemory, &attach(2, &scattered[..3]));
    rig.ok(&detach(1));
    rig.ok(&attach(2, &scattered[..3]));
    let contiguous: Vec<_> = (0..200)
        .map(|page| MemEntry::new(LOW + page * PAGE, 4096))
        .collect();
    rig.ok(&attach(3, &contiguous));

    let create = Command::CtxCreate(CtxCreate {
        init: ContextInit(0),
        name: ContextName::default(),
    });
    let use_1 =
        |id| Command::CtxAttachResource(landbridge_protocol_gpu::ResourceRef { resource_id: id });
    assert_eq!(rig.ask_in(1, &create), Response::OkNoData);
    assert_eq!(rig.ask_in(2, &create), Response::OkNoData);
    assert_eq!(rig.ask_in(3, &create), Response::Error(OutOfMemory));
    assert_eq!(rig.ask_in(1, &use_1(1)), Response::OkNoData);
    assert_eq!(rig.ask_in(2, &use_1(2)), Response::Error(OutOfMemory));
    rig.ask_in(1, &Command::CtxDestroy);
    assert_eq!(rig.ask_in(2, &use_1(2)), Response::OkNoData);
}

#[test]
fn resources_are_bounded_by_the_tenant() {
    let rig = Rig::new();
    for id in 1..=256 {
        rig.ok(&host_blob(id, PAGE));
    }
    rig.refused(OutOfMemory, &host_blob(257, PAGE));
    rig.ok(&unref(256));
    rig.ok(&host_blob(257, PAGE));
}

#[test]
fn resources_without_memory_are_bounded_too() {
    let rig = Rig::with_bounds(Bounds {
        resources: 3,
        ..Bounds::default()
    });
    let nothing = |id| blob(BlobMem::Guest, id, PAGE, &[]);
    for id in 1..=3 {
        rig.ok(&nothing(id));
    }
    rig.refused(OutOfMemory, &nothing(4));
    rig.refused(OutOfMemory, &create_2d(4, 4, 4));
    rig.refused(ErrorCode::InvalidResourceId, &nothing(3));
    rig.ok(&unref(2));
    rig.ok(&nothing(4));
}

#[test]
fn a_page_may_occur_more_often_than_udmabuf_takes_entries() {
    let rig = Rig::guest_import();
    let entries: Vec<_> = (0..1200)
        .map(|index| MemEntry::new([LOW, HIGH, LOW][index % 3], 4096))
        .collect();
    let create = blob(BlobMem::Guest, 1, 1200 * PAGE, &entries);
    rig.ok(&create);
    rig.poke(HIGH, &[1; 4096]);
    rig.ok(&Command::SetScanoutBlob(picture(0, 1, 1024, 1200)));
    rig.ok(&flush(1, Rect::of_size(1024, 1200)));
    let events = rig.display.take();
    let [
        Event::Flushed {
            pixels: Some(pixels),
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    let pages: Vec<u8> = pixels.chunks(4096).map(|page| page[0]).collect();
    assert_eq!(pages, [0, 1, 0].repeat(400));
}

#[test]
fn a_host_without_descriptors_is_out_of_memory_and_recovers() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let _alone = alone();
    let rig = Rig::unguarded(Mode::HostVisible { window: WINDOW }, |config| config);
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let answers = [host_blob(1, PAGE), create_2d(2, 4, 4)].map(|command| rig.ask(&command));
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(
        answers,
        [Response::Error(OutOfMemory), Response::Error(OutOfMemory)]
    );
    rig.assert_empty();
    rig.assert_alive();
}
