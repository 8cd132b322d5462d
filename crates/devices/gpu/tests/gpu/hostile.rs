//! A guest that means harm: every input that broke another device is refused
//! with the right code, leaves the device working, and leaks nothing.

use std::fs;

use landbridge_device::Device;
use landbridge_device_gpu::display::Event;
use landbridge_device_gpu::{Bounds, Mode};
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Box3d, CONTROL_QUEUE, CURSOR_QUEUE, CapsetId, Command, CommandKind,
    ContextInit, ContextName, ControlHeader, CtxCreate, Cursor, CursorPosition, ErrorCode,
    Features, GetCapset, GetCapsetInfo, MemEntry, Rect, ResourceCreateBlob, Response,
    SetScanoutBlob, Submit3d, Transfer3d,
};

use crate::harness::*;

use ErrorCode::{
    InvalidContextId, InvalidParameter, InvalidResourceId, InvalidScanoutId, OutOfMemory,
    Unspecified,
};

/// One attack: what prepares it (must succeed), what it is, and the answer.
struct Attack {
    name: &'static str,
    before: Vec<Command<'static>>,
    attack: Command<'static>,
    code: ErrorCode,
}

fn attack(
    name: &'static str,
    before: &[Command<'static>],
    attack: Command<'static>,
    code: ErrorCode,
) -> Attack {
    Attack {
        name,
        before: before.to_vec(),
        attack,
        code,
    }
}

fn list(id: u32, entries: &[(u64, u32)]) -> Command<'static> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(at, len)| MemEntry::new(*at, *len))
        .collect();
    Command::ResourceAttachBacking(landbridge_protocol_gpu::ResourceAttachBacking {
        resource_id: id,
        entries: entries.into(),
    })
}

fn guest_blob(size: u64, entries: &[(u64, u32)]) -> Command<'static> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(at, len)| MemEntry::new(*at, *len))
        .collect();
    Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: 1,
        mem: BlobMem::Guest,
        flags: BlobFlags::empty(),
        blob_id: 0,
        size,
        entries: entries.into(),
    })
}

fn creations() -> Vec<Attack> {
    let wide = |width, height| create_2d(1, width, height);
    vec![
        attack(
            "2D width x bpp wraps 32 bits",
            &[],
            wide(1 << 30, 1),
            InvalidParameter,
        ),
        attack(
            "2D size wraps 32 bits",
            &[],
            wide(0x8000, 0x8001),
            OutOfMemory,
        ),
        attack(
            "2D size wraps to a little",
            &[],
            wide(1 << 29, 8),
            OutOfMemory,
        ),
        attack("2D huge", &[], wide(u32::MAX / 4, u32::MAX), OutOfMemory),
        attack(
            "2D all ones",
            &[],
            wide(u32::MAX, u32::MAX),
            InvalidParameter,
        ),
        attack("2D width 0", &[], wide(0, 4), InvalidParameter),
        attack("2D height 0", &[], wide(4, 0), InvalidParameter),
        attack("2D id 0", &[], create_2d(0, 4, 4), InvalidResourceId),
        attack("2D id twice", &[wide(4, 4)], wide(4, 4), InvalidResourceId),
        attack(
            "2D id of a blob",
            &[host_blob(1, PAGE)],
            wide(4, 4),
            InvalidResourceId,
        ),
        attack(
            "blob id of a 2D",
            &[wide(4, 4)],
            host_blob(1, PAGE),
            InvalidResourceId,
        ),
        attack("blob id 0", &[], host_blob(0, PAGE), InvalidResourceId),
        attack("blob size 0", &[], host_blob(1, 0), InvalidParameter),
        attack(
            "blob size not whole pages",
            &[],
            host_blob(1, PAGE + 1),
            InvalidParameter,
        ),
        attack(
            "blob size beyond the limit",
            &[],
            host_blob(1, 1 << 30),
            OutOfMemory,
        ),
        attack("blob size wraps", &[], host_blob(1, !0xfff), OutOfMemory),
        attack(
            "blob of a host object that is not there",
            &[],
            Command::ResourceCreateBlob(ResourceCreateBlob {
                resource_id: 1,
                mem: BlobMem::Host3d,
                flags: BlobFlags::MAPPABLE,
                blob_id: 9,
                size: PAGE,
                entries: [][..].into(),
            }),
            InvalidParameter,
        ),
        attack(
            "host blob with guest memory",
            &[],
            blob(BlobMem::Host3d, 1, PAGE, &[MemEntry::new(LOW, 4096)]).into_static(),
            InvalidParameter,
        ),
    ]
}

fn backings() -> Vec<Attack> {
    let plain = create_2d(1, 4, 4);
    let page = [(LOW, 4096)];
    let cases: &[(&'static str, &[(u64, u32)])] = &[
        ("outside guest memory", &[(0x5000_0000, 4096)]),
        ("in the hole of guest memory", &[(LOW + RAM, 4096)]),
        (
            "across the end of guest memory",
            &[(LOW + RAM - PAGE, 8192)],
        ),
        ("of length 0", &[(LOW, 0)]),
        (
            "of length 0 after a good one",
            &[(LOW, 4096), (LOW + PAGE, 0)],
        ),
        ("unaligned", &[(LOW + 1, 4096)]),
        ("unaligned in the middle", &[(LOW, 100), (HIGH, 4096)]),
        ("wrapping", &[(u64::MAX - 1, 4096)]),
        ("at the end of the address space", &[(!0xfff, 4096)]),
        ("empty", &[]),
    ];
    let mut attacks: Vec<_> = cases
        .iter()
        .map(|(name, entries)| {
            attack(
                name,
                std::slice::from_ref(&plain),
                list(1, entries),
                InvalidParameter,
            )
        })
        .collect();
    attacks.extend(cases[..9].iter().map(|(name, entries)| {
        let size = entries.iter().map(|(_, len)| u64::from(*len)).sum::<u64>();
        let size = size.next_multiple_of(PAGE).max(PAGE);
        attack(name, &[], guest_blob(size, entries), InvalidParameter)
    }));
    attacks.extend([
        attack(
            "blob larger than its entries",
            &[],
            guest_blob(2 * PAGE, &page),
            InvalidParameter,
        ),
        attack(
            "blob much larger than its entries, later",
            &[guest_blob(1 << 30, &[])],
            list(1, &page),
            InvalidParameter,
        ),
        attack(
            "attach twice",
            &[plain.clone(), list(1, &page)],
            list(1, &page),
            Unspecified,
        ),
        attack(
            "attach to a host blob",
            &[host_blob(1, PAGE)],
            list(1, &page),
            InvalidParameter,
        ),
        attack("attach to nothing", &[], list(1, &page), InvalidResourceId),
        attack(
            "detach without attach",
            std::slice::from_ref(&plain),
            detach(1),
            Unspecified,
        ),
        attack("detach nothing", &[], detach(1), InvalidResourceId),
        attack(
            "detach twice",
            &[plain, list(1, &page), detach(1)],
            detach(1),
            Unspecified,
        ),
    ]);
    attacks
}

fn transfers() -> Vec<Attack> {
    let backed = [create_2d(1, 4, 4), list(1, &[(LOW, 4096)])];
    let whole = Rect::of_size(4, 4);
    let rect = |x, y, width, height| Rect {
        x,
        y,
        width,
        height,
    };
    let to_3d = |region, offset, stride| {
        Command::TransferToHost3d(Transfer3d {
            region,
            offset,
            stride,
            resource_id: 1,
            ..Transfer3d::default()
        })
    };
    let flat = Box3d {
        width: 4,
        height: 4,
        depth: 1,
        ..Box3d::default()
    };
    vec![
        attack(
            "without backing",
            &backed[..1],
            transfer(1, whole, 0),
            Unspecified,
        ),
        attack("of nothing", &[], transfer(1, whole, 0), InvalidResourceId),
        attack(
            "too wide",
            &backed,
            transfer(1, rect(1, 0, 4, 1), 0),
            InvalidParameter,
        ),
        attack(
            "wraps",
            &backed,
            transfer(1, rect(u32::MAX, 0, 4, 1), 0),
            InvalidParameter,
        ),
        attack(
            "offset at the end",
            &backed,
            transfer(1, whole, 4096),
            InvalidParameter,
        ),
        attack(
            "offset wraps",
            &backed,
            transfer(1, whole, u64::MAX - 8),
            InvalidParameter,
        ),
        attack(
            "3D in no context",
            &backed,
            to_3d(flat, 0, 0),
            InvalidContextId,
        ),
        attack(
            "of a host blob",
            &[host_blob(1, PAGE)],
            transfer(1, whole, 0),
            Unspecified,
        ),
    ]
}

fn scanouts() -> Vec<Attack> {
    let shown = [host_blob(1, PAGE)];
    let flat = [create_2d(1, 4, 4)];
    let whole = Rect::of_size(4, 4);
    let with = |change: &dyn Fn(&mut SetScanoutBlob)| {
        let mut set = picture(0, 1, 16, 16);
        change(&mut set);
        Command::SetScanoutBlob(set)
    };
    let bad = |name, set| attack(name, &shown, set, InvalidParameter);
    let cursor = |scanout_id, resource_id| {
        Command::UpdateCursor(Cursor {
            position: CursorPosition {
                scanout_id,
                x: 0,
                y: 0,
            },
            resource_id,
            hot_x: 0,
            hot_y: 0,
        })
    };
    vec![
        attack(
            "scanout 2 of 2",
            &flat,
            set_scanout(2, 1, whole),
            InvalidScanoutId,
        ),
        attack(
            "scanout huge",
            &flat,
            set_scanout(u32::MAX, 1, whole),
            InvalidScanoutId,
        ),
        attack(
            "scanout huge, off",
            &[],
            set_scanout(u32::MAX, 0, whole),
            InvalidScanoutId,
        ),
        attack(
            "scanout of nothing",
            &[],
            set_scanout(0, 1, whole),
            InvalidResourceId,
        ),
        attack(
            "scanout empty",
            &flat,
            set_scanout(0, 1, Rect::default()),
            InvalidParameter,
        ),
        attack(
            "scanout too high",
            &flat,
            set_scanout(0, 1, Rect::of_size(4, 5)),
            InvalidParameter,
        ),
        attack(
            "scanout of a blob without layout",
            &shown,
            set_scanout(0, 1, whole),
            InvalidParameter,
        ),
        attack(
            "blob layout on a 2D resource",
            &flat,
            Command::SetScanoutBlob(picture(0, 1, 4, 4)),
            InvalidParameter,
        ),
        attack(
            "blob scanout 2",
            &shown,
            Command::SetScanoutBlob(picture(2, 1, 4, 4)),
            InvalidScanoutId,
        ),
        bad("one row too many", with(&|set| set.height = 65)),
        bad("offset at the end", with(&|set| set.offsets[0] = 4096)),
        bad("offset wraps", with(&|set| set.offsets[0] = u32::MAX)),
        bad(
            "stride x height wraps",
            with(&|set| {
                set.strides[0] = u32::MAX;
                set.height = u32::MAX;
            }),
        ),
        bad("stride 0", with(&|set| set.strides[0] = 0)),
        bad("stride below a row", with(&|set| set.strides[0] = 63)),
        bad("width wraps", with(&|set| set.width = 0x4000_0001)),
        bad("width 0", with(&|set| set.width = 0)),
        bad("height 0", with(&|set| set.height = 0)),
        bad("unknown format", with(&|set| set.format_code = 0)),
        bad("a second plane", with(&|set| set.strides[1] = 64)),
        bad("a fourth plane", with(&|set| set.offsets[3] = 1)),
        bad("rectangle outside", with(&|set| set.rect.x = 1)),
        bad("rectangle wraps", with(&|set| set.rect.y = u32::MAX)),
        attack(
            "blob without memory",
            &[guest_blob(PAGE, &[])],
            with(&|_| {}),
            Unspecified,
        ),
        attack("flush of nothing", &[], flush(1, whole), InvalidResourceId),
        attack(
            "flush too wide",
            &flat,
            flush(1, Rect::of_size(5, 4)),
            InvalidParameter,
        ),
        attack(
            "flush of a blob wraps",
            &shown,
            flush(
                1,
                Rect {
                    x: 2,
                    ..Rect::of_size(u32::MAX, 1)
                },
            ),
            InvalidParameter,
        ),
        attack("cursor on scanout 2", &[], cursor(2, 0), InvalidScanoutId),
        attack("cursor of nothing", &[], cursor(0, 1), InvalidResourceId),
        attack(
            "cursor of the wrong size",
            &flat,
            cursor(0, 1),
            InvalidParameter,
        ),
        attack(
            "cursor in a small blob",
            &shown,
            cursor(0, 1),
            InvalidParameter,
        ),
    ]
}

fn maps() -> Vec<Attack> {
    let one = [host_blob(1, 2 * PAGE)];
    let mapped = [host_blob(1, 2 * PAGE), map(1, 0)];
    let two = [host_blob(1, 2 * PAGE), map(1, PAGE), host_blob(2, 2 * PAGE)];
    let bad = |name, offset| attack(name, &one, map(1, offset), InvalidParameter);
    vec![
        bad("offset + size wraps", !0xfff),
        bad("offset all ones", u64::MAX),
        bad("unaligned", 1),
        bad("out of the window", WINDOW),
        bad("across the window's end", WINDOW - PAGE),
        attack("map twice", &mapped, map(1, 4 * PAGE), InvalidParameter),
        attack("map over another", &two, map(2, 0), InvalidParameter),
        attack(
            "map within another",
            &two,
            map(2, 2 * PAGE),
            InvalidParameter,
        ),
        attack("map nothing", &[], map(1, 0), InvalidResourceId),
        attack(
            "map a 2D resource",
            &[create_2d(1, 32, 32)],
            map(1, 0),
            InvalidParameter,
        ),
        attack(
            "map a guest blob",
            &[guest_blob(PAGE, &[(LOW, 4096)])],
            map(1, 0),
            InvalidParameter,
        ),
        attack("unmap what is not mapped", &one, unmap(1), InvalidParameter),
        attack(
            "unmap twice",
            &[host_blob(1, PAGE), map(1, 0), unmap(1)],
            unmap(1),
            InvalidParameter,
        ),
        attack("unmap nothing", &[], unmap(1), InvalidResourceId),
        attack("UUID of nothing", &[], assign_uuid(1), InvalidResourceId),
        attack(
            "UUID of no memory",
            &[guest_blob(PAGE, &[])],
            assign_uuid(1),
            InvalidParameter,
        ),
        attack("unref nothing", &[], unref(1), InvalidResourceId),
        attack("unref 0", &[], unref(0), InvalidResourceId),
        attack(
            "unref twice",
            &[host_blob(1, PAGE), map(1, 0), unref(1)],
            unref(1),
            InvalidResourceId,
        ),
    ]
}

fn three_d() -> Vec<Attack> {
    let submit = |stream: &'static [u8]| {
        Command::Submit3d(Submit3d {
            stream: stream.into(),
        })
    };
    let info = |index| Command::GetCapsetInfo(GetCapsetInfo { index });
    let capset = |id, version| {
        Command::GetCapset(GetCapset {
            id: CapsetId(id),
            version,
        })
    };
    vec![
        attack("capset info 0", &[], info(0), InvalidParameter),
        attack("capset info huge", &[], info(u32::MAX), InvalidParameter),
        attack("capset 0", &[], capset(0, 0), InvalidParameter),
        attack("capset virgl", &[], capset(1, 1), InvalidParameter),
        attack(
            "capset huge",
            &[],
            capset(u32::MAX, u32::MAX),
            InvalidParameter,
        ),
        attack(
            "submit in no context",
            &[],
            submit(b"1234"),
            InvalidContextId,
        ),
        attack(
            "submit of size 0 in no context",
            &[],
            submit(b""),
            InvalidContextId,
        ),
        attack(
            "destroy no context",
            &[],
            Command::CtxDestroy,
            InvalidContextId,
        ),
        attack(
            "create context 0",
            &[],
            Command::CtxCreate(CtxCreate {
                init: ContextInit(0),
                name: ContextName::default(),
            }),
            InvalidContextId,
        ),
        attack(
            "3D resource without a renderer",
            &[],
            Command::ResourceCreate3d(Default::default()),
            Unspecified,
        ),
    ]
}

/// Commands borrow their lists; a table keeps them.
trait IntoStatic {
    fn into_static(self) -> Command<'static>;
}

impl IntoStatic for Command<'_> {
    fn into_static(self) -> Command<'static> {
        match self {
            Command::ResourceCreateBlob(create) => {
                Command::ResourceCreateBlob(ResourceCreateBlob {
                    entries: create.entries.into_owned().into(),
                    ..create
                })
            }
            other => panic!("{:?} has no list", other.kind()),
        }
    }
}

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
        ..before.clone()
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
