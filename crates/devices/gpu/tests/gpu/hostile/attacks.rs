//! The table of attacks, a family of commands each.

use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Box3d, CapsetId, Command, ContextInit, ContextName, CtxCreate, Cursor,
    CursorPosition, ErrorCode, GetCapset, GetCapsetInfo, MemEntry, Rect, ResourceCreateBlob,
    SetScanoutBlob, Submit3d, Transfer3d,
};

use crate::harness::*;

use ErrorCode::{
    InvalidContextId, InvalidParameter, InvalidResourceId, InvalidScanoutId, OutOfMemory,
    Unspecified,
};

/// One attack: what prepares it (must succeed), what it is, and the answer.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) before: Vec<Command<'static>>,
    pub(super) attack: Command<'static>,
    pub(super) code: ErrorCode,
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

pub(super) fn creations() -> Vec<Attack> {
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

pub(super) fn backings() -> Vec<Attack> {
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

pub(super) fn transfers() -> Vec<Attack> {
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

pub(super) fn scanouts() -> Vec<Attack> {
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

pub(super) fn maps() -> Vec<Attack> {
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

pub(super) fn three_d() -> Vec<Attack> {
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
