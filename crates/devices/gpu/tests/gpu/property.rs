//! Any sequence of commands: no panic, every command answered, and nothing
//! left after a reset.

use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Box3d, CONTROL_QUEUE, CURSOR_QUEUE, Command, ContextInit, ContextName,
    ControlHeader, CtxCreate, Cursor, CursorPosition, Format, MemEntry, Rect, ResourceCreate2d,
    ResourceCreateBlob, ResourceRef, Response, SetScanoutBlob, Submit3d, Transfer3d,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::*;

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![9 => 0..5u32, 1 => any::<u32>()]
}

fn resource() -> impl Strategy<Value = ResourceRef> {
    id().prop_map(|resource_id| ResourceRef { resource_id })
}

fn side() -> impl Strategy<Value = u32> {
    prop_oneof![9 => 0..70u32, 1 => any::<u32>()]
}

fn rect() -> impl Strategy<Value = Rect> {
    (side(), side(), side(), side()).prop_map(|(x, y, width, height)| Rect {
        x: x / 8,
        y: y / 8,
        width,
        height,
    })
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0..8u64).prop_map(|page| page * PAGE),
        2 => 0..100_000u64,
        1 => any::<u64>()
    ]
}

fn entries() -> impl Strategy<Value = Vec<MemEntry>> {
    let address = prop_oneof![
        6 => (0..16u64).prop_map(|page| LOW + page * PAGE),
        3 => (0..16u64).prop_map(|page| HIGH + page * PAGE),
        1 => any::<u64>()
    ];
    let length = prop_oneof![8 => Just(4096u32), 1 => Just(16384), 1 => any::<u32>()];
    vec(
        (address, length).prop_map(|(at, len)| MemEntry::new(at, len)),
        0..6,
    )
}

fn create() -> impl Strategy<Value = Command<'static>> {
    let flat = (id(), side(), side(), select(&Format::ALL[..])).prop_map(
        |(resource_id, width, height, format)| {
            Command::ResourceCreate2d(ResourceCreate2d {
                resource_id,
                format,
                width,
                height,
            })
        },
    );
    let mem = select(vec![BlobMem::Guest, BlobMem::Host3d, BlobMem::Host3dGuest]);
    let size = prop_oneof![8 => (1..6u64).prop_map(|pages| pages * PAGE), 1 => any::<u64>()];
    let blob = (id(), mem, 0..8u32, size, entries()).prop_map(
        |(resource_id, mem, flags, size, mut entries)| {
            if mem == BlobMem::Host3d {
                entries.clear();
            }
            Command::ResourceCreateBlob(ResourceCreateBlob {
                resource_id,
                mem,
                flags: BlobFlags::from_bits_truncate(flags | 1),
                blob_id: 0,
                size,
                entries: entries.into(),
            })
        },
    );
    prop_oneof![flat, blob]
}

fn show() -> impl Strategy<Value = Command<'static>> {
    let blob = (0..3u32, id(), side(), side(), side(), offset()).prop_map(
        |(scanout_id, resource_id, width, height, slack, offset)| {
            Command::SetScanoutBlob(SetScanoutBlob {
                rect: Rect::of_size(width, height),
                strides: [width.wrapping_mul(4).wrapping_add(slack), 0, 0, 0],
                offsets: [offset as u32, 0, 0, 0],
                ..picture(scanout_id, resource_id, width, height)
            })
        },
    );
    let cursor = (0..3u32, id(), any::<u32>()).prop_map(|(scanout_id, resource_id, x)| {
        Command::UpdateCursor(Cursor {
            position: CursorPosition {
                scanout_id,
                x,
                y: 0,
            },
            resource_id,
            hot_x: 0,
            hot_y: 0,
        })
    });
    prop_oneof![
        (0..3u32, id(), rect()).prop_map(|(scanout, id, rect)| set_scanout(scanout, id, rect)),
        blob,
        cursor,
        (id(), rect()).prop_map(|(id, rect)| flush(id, rect)),
    ]
}

fn copy() -> impl Strategy<Value = Command<'static>> {
    let deep = (id(), rect(), offset(), any::<bool>()).prop_map(|(id, rect, offset, up)| {
        let transfer = Transfer3d {
            region: Box3d {
                x: rect.x,
                y: rect.y,
                z: 0,
                width: rect.width,
                height: rect.height,
                depth: 1,
            },
            offset,
            resource_id: id,
            ..Transfer3d::default()
        };
        if up {
            Command::TransferToHost3d(transfer)
        } else {
            Command::TransferFromHost3d(transfer)
        }
    });
    prop_oneof![
        (id(), rect(), offset()).prop_map(|(id, rect, offset)| transfer(id, rect, offset)),
        deep,
    ]
}

fn manage() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![
        resource().prop_map(Command::ResourceUnref),
        resource().prop_map(Command::ResourceDetachBacking),
        resource().prop_map(Command::ResourceAssignUuid),
        resource().prop_map(Command::ResourceUnmapBlob),
        resource().prop_map(Command::CtxAttachResource),
        resource().prop_map(Command::CtxDetachResource),
        (id(), offset()).prop_map(|(id, offset)| map(id, offset)),
        (id(), entries()).prop_map(|(resource_id, entries)| {
            Command::ResourceAttachBacking(landbridge_protocol_gpu::ResourceAttachBacking {
                resource_id,
                entries: entries.into(),
            })
        }),
        Just(Command::GetDisplayInfo),
        Just(Command::CtxDestroy),
        Just(Command::CtxCreate(CtxCreate {
            init: ContextInit(0),
            name: ContextName::default(),
        })),
        vec(any::<u8>(), 0..9).prop_map(|stream| {
            Command::Submit3d(Submit3d {
                stream: stream.into(),
            })
        }),
    ]
}

fn any_command() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![2 => create(), 2 => show(), 1 => copy(), 3 => manage()]
}

fn header() -> impl Strategy<Value = ControlHeader> {
    (0..3u32, any::<u64>(), 0..4u8).prop_map(|(context, fence, kind)| {
        let header = ControlHeader::in_context(context);
        match kind {
            0 => header,
            1 => header.with_fence(fence).with_ring(fence as u8 % 70),
            _ => header.with_fence(fence),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_sequence_is_answered_and_leaves_nothing(
        commands in vec((header(), any_command()), 1..60),
        host_visible in any::<bool>(),
    ) {
        let rig = if host_visible { Rig::new() } else { Rig::guest_import() };
        for (header, command) in &commands {
            let bytes = rig.send(*header, command).recv().unwrap();
            let (answer, _) = Response::parse(&bytes).unwrap();
            prop_assert_eq!(answer.fence(), header.fence());
        }
        let mapped = rig.gpu.status().maps;
        prop_assert_eq!(rig.mapper.mapped().len(), mapped);
        rig.reset();
        rig.assert_empty();
        rig.assert_alive();
    }

    #[test]
    fn any_bytes_are_answered(
        requests in vec((0..2usize, vec(any::<u8>(), 0..120), 0..40usize), 1..20),
        kinds in vec(select(landbridge_protocol_gpu::CommandKind::ALL), 20),
    ) {
        let rig = Rig::new();
        for ((queue, mut bytes, capacity), kind) in requests.into_iter().zip(kinds) {
            if let Some(code) = bytes.get_mut(..4) {
                code.copy_from_slice(&kind.code().to_le_bytes());
            }
            let queue = if queue == 0 { CONTROL_QUEUE } else { CURSOR_QUEUE };
            let answer = rig.send_bytes(queue, bytes, capacity).recv().unwrap();
            prop_assert!(answer.len() <= capacity);
        }
        rig.reset();
        rig.assert_empty();
    }
}
