//! Any command and any response, for the property tests.

use landbridge_protocol_gpu::*;
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn header() -> impl Strategy<Value = ControlHeader> {
    any::<(u32, u64, u32, u8)>().prop_map(|(flags, fence_id, ctx_id, ring_idx)| ControlHeader {
        flags: HeaderFlags::from_bits_retain(flags),
        fence_id,
        ctx_id,
        ring_idx,
    })
}

fn rect() -> impl Strategy<Value = Rect> {
    any::<[u32; 4]>().prop_map(|[x, y, width, height]| Rect {
        x,
        y,
        width,
        height,
    })
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(&Format::ALL)
}

fn entries() -> impl Strategy<Value = Vec<MemEntry>> {
    let entry = any::<(u64, u32)>().prop_map(|(addr, length)| MemEntry::new(addr, length));
    vec(entry, 0..40)
}

fn resource() -> impl Strategy<Value = ResourceRef> {
    any::<u32>().prop_map(|resource_id| ResourceRef { resource_id })
}

fn twod() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![
        (any::<[u32; 3]>(), format()).prop_map(|([resource_id, width, height], format)| {
            Command::ResourceCreate2d(ResourceCreate2d {
                resource_id,
                format,
                width,
                height,
            })
        }),
        resource().prop_map(Command::ResourceUnref),
        (rect(), any::<[u32; 2]>()).prop_map(|(rect, [scanout_id, resource_id])| {
            Command::SetScanout(SetScanout {
                rect,
                scanout_id,
                resource_id,
            })
        }),
        (rect(), any::<u32>()).prop_map(|(rect, resource_id)| Command::ResourceFlush(
            ResourceFlush { rect, resource_id }
        )),
        (rect(), any::<(u64, u32)>()).prop_map(|(rect, (offset, resource_id))| {
            Command::TransferToHost2d(TransferToHost2d {
                rect,
                offset,
                resource_id,
            })
        }),
        (any::<u32>(), entries()).prop_map(|(resource_id, entries)| {
            Command::ResourceAttachBacking(ResourceAttachBacking {
                resource_id,
                entries: entries.into(),
            })
        }),
        resource().prop_map(Command::ResourceDetachBacking),
    ]
}

fn questions() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![
        Just(Command::GetDisplayInfo),
        any::<u32>().prop_map(|index| Command::GetCapsetInfo(GetCapsetInfo { index })),
        any::<[u32; 2]>().prop_map(|[id, version]| Command::GetCapset(GetCapset {
            id: CapsetId(id),
            version
        })),
        any::<u32>().prop_map(|scanout_id| Command::GetEdid(GetEdid { scanout_id })),
        resource().prop_map(Command::ResourceAssignUuid),
    ]
}

fn blob() -> impl Strategy<Value = Command<'static>> {
    let create = (any::<(u32, u64, u64)>(), 1u32..=3, 0u32..8, entries()).prop_map(
        |((resource_id, blob_id, size), mem, flags, entries)| {
            Command::ResourceCreateBlob(ResourceCreateBlob {
                resource_id,
                mem: mem.try_into().unwrap(),
                flags: BlobFlags::from_bits(flags).unwrap(),
                blob_id,
                size,
                entries: entries.into(),
            })
        },
    );
    let scanout = (rect(), any::<([u32; 5], [u32; 4], [u32; 4])>()).prop_map(
        |(rect, ([scanout_id, resource_id, width, height, format_code], strides, offsets))| {
            Command::SetScanoutBlob(SetScanoutBlob {
                rect,
                scanout_id,
                resource_id,
                width,
                height,
                format_code,
                strides,
                offsets,
            })
        },
    );
    let map = any::<(u32, u64)>().prop_map(|(resource_id, offset)| {
        Command::ResourceMapBlob(ResourceMapBlob {
            resource_id,
            offset,
        })
    });
    prop_oneof![
        create,
        scanout,
        map,
        resource().prop_map(Command::ResourceUnmapBlob),
    ]
}

fn context() -> impl Strategy<Value = Command<'static>> {
    let create = (any::<u32>(), vec(any::<u8>(), 0..=64)).prop_map(|(init, name)| {
        Command::CtxCreate(CtxCreate {
            init: ContextInit(init),
            name: ContextName::new(&name).unwrap(),
        })
    });
    prop_oneof![
        create,
        Just(Command::CtxDestroy),
        resource().prop_map(Command::CtxAttachResource),
        resource().prop_map(Command::CtxDetachResource),
    ]
}

fn transfer3d() -> impl Strategy<Value = Transfer3d> {
    any::<([u32; 6], u64, [u32; 4])>().prop_map(
        |([x, y, z, width, height, depth], offset, [resource_id, level, stride, layer_stride])| {
            Transfer3d {
                region: Box3d {
                    x,
                    y,
                    z,
                    width,
                    height,
                    depth,
                },
                offset,
                resource_id,
                level,
                stride,
                layer_stride,
            }
        },
    )
}

fn threed() -> impl Strategy<Value = Command<'static>> {
    let create = any::<[u32; 11]>().prop_map(|fields| {
        let [
            resource_id,
            target,
            format,
            bind,
            width,
            height,
            depth,
            array_size,
            last_level,
            nr_samples,
            flags,
        ] = fields;
        Command::ResourceCreate3d(ResourceCreate3d {
            resource_id,
            target,
            format,
            bind,
            width,
            height,
            depth,
            array_size,
            last_level,
            nr_samples,
            flags: Resource3dFlags::from_bits_retain(flags),
        })
    });
    let submit = vec(any::<u8>(), 0..300).prop_map(|stream| {
        Command::Submit3d(Submit3d {
            stream: stream.into(),
        })
    });
    prop_oneof![
        create,
        transfer3d().prop_map(Command::TransferToHost3d),
        transfer3d().prop_map(Command::TransferFromHost3d),
        submit,
    ]
}

fn cursor() -> impl Strategy<Value = Command<'static>> {
    any::<([u32; 6], bool)>().prop_map(|([scanout_id, x, y, resource_id, hot_x, hot_y], update)| {
        let cursor = Cursor {
            position: CursorPosition { scanout_id, x, y },
            resource_id,
            hot_x,
            hot_y,
        };
        if update {
            Command::UpdateCursor(cursor)
        } else {
            Command::MoveCursor(cursor)
        }
    })
}

/// Any command that can be encoded.
pub(crate) fn command() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![
        7 => twod(),
        5 => questions(),
        4 => blob(),
        4 => context(),
        4 => threed(),
        2 => cursor(),
    ]
}

fn display_info() -> impl Strategy<Value = Response> {
    let mode = (rect(), any::<(bool, u32)>()).prop_map(|(rect, (enabled, flags))| DisplayMode {
        rect,
        enabled,
        flags,
    });
    vec(mode, MAX_SCANOUTS)
        .prop_map(|modes| Response::OkDisplayInfo(Box::new(modes.try_into().unwrap())))
}

/// Any response that can be encoded.
pub(crate) fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        Just(Response::OkNoData),
        display_info(),
        any::<[u32; 3]>().prop_map(|[id, max_version, max_size]| {
            Response::OkCapsetInfo(CapsetInfo {
                id: CapsetId(id),
                max_version,
                max_size,
            })
        }),
        vec(any::<u8>(), 0..300).prop_map(Response::OkCapset),
        vec(any::<u8>(), 0..=EDID_MAX_SIZE)
            .prop_map(|bytes| Response::OkEdid(Edid::new(bytes).unwrap())),
        any::<u128>().prop_map(|bits| Response::OkResourceUuid(uuid::Uuid::from_u128(bits))),
        (0u32..4).prop_map(|value| Response::OkMapInfo(value.try_into().unwrap())),
        prop::sample::select(&ErrorCode::ALL).prop_map(Response::Error),
    ]
}
