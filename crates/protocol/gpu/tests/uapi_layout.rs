//! Every structure of this crate against the kernel's header, as bindgen saw it
//! (crate `virtio-bindings`, module `virtio_gpu`): each field gets a value of
//! its own, the message is encoded, and the value must lie at the offset and
//! have the size that the C structure says; all other bytes must be zero.

use std::borrow::Cow;
use std::mem::offset_of;

use landbridge_protocol_gpu::*;
use virtio_bindings::virtio_gpu as uapi;

/// Bytes of a message that are still to be accounted for.
struct Message {
    bytes: Vec<u8>,
    name: &'static str,
}

impl Message {
    /// Checks one field and blanks it.
    fn field(&mut self, field: &str, offset: usize, size: usize, value: u64) {
        let found = &mut self.bytes[offset..offset + size];
        assert_eq!(found, &value.to_le_bytes()[..size], "{}.{field}", self.name);
        found.fill(0);
    }

    fn finish(self, size: usize) {
        assert_eq!(self.bytes.len(), size, "size of {}", self.name);
        assert!(
            self.bytes.iter().all(|&byte| byte == 0),
            "{} has bytes that no field explains: {:?}",
            self.name,
            self.bytes
        );
    }
}

fn size_of_field<S, F>(_: impl Fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// `layout!(bytes, c_struct, { field = value, ... })`
macro_rules! layout {
    ($bytes:expr, $struct:ident, { $( $($field:ident).+ = $value:expr ),* $(,)? }) => {{
        let mut message = Message { bytes: $bytes, name: stringify!($struct) };
        $(
            message.field(
                stringify!($($field).+),
                offset_of!(uapi::$struct, $($field).+),
                size_of_field(|s: &uapi::$struct| &s.$($field).+),
                u64::from($value),
            );
        )*
        message.finish(size_of::<uapi::$struct>());
    }};
}

fn encode(command: &Command<'_>) -> Vec<u8> {
    command.encode(&ControlHeader::default())
}

/// A response and its type, without a fence.
fn answer(response: &Response) -> (Vec<u8>, u32) {
    (response.encode(&ControlHeader::default()), response.code())
}

const RECT: Rect = Rect {
    x: 0x11,
    y: 0x12,
    width: 0x13,
    height: 0x14,
};

#[test]
fn header() {
    let header = ControlHeader {
        flags: HeaderFlags::from_bits_retain(0x8765_4321),
        fence_id: 0x1122_3344_5566_7788,
        ctx_id: 0x99aa_bbcc,
        ring_idx: 0xdd,
    };
    layout!(Command::CtxDestroy.encode(&header), virtio_gpu_ctx_destroy, {
        hdr.type_ = 0x0201u32,
        hdr.flags = 0x8765_4321u32,
        hdr.fence_id = 0x1122_3344_5566_7788u64,
        hdr.ctx_id = 0x99aa_bbccu32,
        hdr.ring_idx = 0xddu8,
    });
    assert_eq!(HEADER_SIZE, size_of::<uapi::virtio_gpu_ctrl_hdr>());
    layout!(encode(&Command::GetDisplayInfo), virtio_gpu_ctrl_hdr, {
        type_ = 0x0100u32
    });
}

#[test]
fn resource_only_commands() {
    let resource = ResourceRef {
        resource_id: 0x0a0b_0c0d,
    };
    macro_rules! check {
        ($( $kind:ident $struct:ident; )*) => {
            $(
                layout!(encode(&Command::$kind(resource)), $struct, {
                    hdr.type_ = CommandKind::$kind.code(),
                    resource_id = 0x0a0b_0c0du32,
                });
            )*
        };
    }
    check! {
        ResourceUnref virtio_gpu_resource_unref;
        ResourceDetachBacking virtio_gpu_resource_detach_backing;
        ResourceAssignUuid virtio_gpu_resource_assign_uuid;
        CtxAttachResource virtio_gpu_ctx_resource;
        CtxDetachResource virtio_gpu_ctx_resource;
        ResourceUnmapBlob virtio_gpu_resource_unmap_blob;
    }
}

#[test]
fn twod() {
    let create = ResourceCreate2d {
        resource_id: 1,
        format: Format::R8G8B8X8,
        width: 2,
        height: 3,
    };
    layout!(encode(&Command::ResourceCreate2d(create)), virtio_gpu_resource_create_2d, {
        hdr.type_ = 0x0101u32, resource_id = 1u32, format = 134u32, width = 2u32, height = 3u32,
    });
    let scanout = SetScanout {
        rect: RECT,
        scanout_id: 4,
        resource_id: 5,
    };
    layout!(encode(&Command::SetScanout(scanout)), virtio_gpu_set_scanout, {
        hdr.type_ = 0x0103u32,
        r.x = 0x11u32, r.y = 0x12u32, r.width = 0x13u32, r.height = 0x14u32,
        scanout_id = 4u32, resource_id = 5u32,
    });
    let flush = ResourceFlush {
        rect: RECT,
        resource_id: 6,
    };
    layout!(encode(&Command::ResourceFlush(flush)), virtio_gpu_resource_flush, {
        hdr.type_ = 0x0104u32,
        r.x = 0x11u32, r.y = 0x12u32, r.width = 0x13u32, r.height = 0x14u32,
        resource_id = 6u32,
    });
    let transfer = TransferToHost2d {
        rect: RECT,
        offset: 0x0102_0304_0506_0708,
        resource_id: 7,
    };
    layout!(encode(&Command::TransferToHost2d(transfer)), virtio_gpu_transfer_to_host_2d, {
        hdr.type_ = 0x0105u32,
        r.x = 0x11u32, r.y = 0x12u32, r.width = 0x13u32, r.height = 0x14u32,
        offset = 0x0102_0304_0506_0708u64, resource_id = 7u32,
    });
}

/// Splits a message into its fixed part, `fixed` bytes, and its tail.
fn split_tail(mut bytes: Vec<u8>, fixed: usize) -> (Vec<u8>, Vec<u8>) {
    let tail = bytes.split_off(fixed);
    (bytes, tail)
}

fn check_entries(tail: Vec<u8>) {
    let (first, second) = split_tail(tail, size_of::<uapi::virtio_gpu_mem_entry>());
    layout!(first, virtio_gpu_mem_entry, { addr = 0x1000_2000_3000u64, length = 0x4000u32 });
    layout!(second, virtio_gpu_mem_entry, { addr = 0x5000u64, length = 0x6000u32 });
}

fn two_entries() -> Cow<'static, [MemEntry]> {
    vec![
        MemEntry::new(0x1000_2000_3000, 0x4000),
        MemEntry::new(0x5000, 0x6000),
    ]
    .into()
}

#[test]
fn attach_backing() {
    let attach = ResourceAttachBacking {
        resource_id: 8,
        entries: two_entries(),
    };
    let (fixed, tail) = split_tail(
        encode(&Command::ResourceAttachBacking(attach)),
        size_of::<uapi::virtio_gpu_resource_attach_backing>(),
    );
    layout!(fixed, virtio_gpu_resource_attach_backing, {
        hdr.type_ = 0x0106u32, resource_id = 8u32, nr_entries = 2u32,
    });
    check_entries(tail);
}

#[test]
fn create_blob() {
    let create = ResourceCreateBlob {
        resource_id: 9,
        mem: BlobMem::Host3dGuest,
        flags: BlobFlags::SHAREABLE | BlobFlags::CROSS_DEVICE,
        blob_id: 0x0a0a_0a0a_0b0b_0b0b,
        size: 0x0c0c_0c0c_0d0d_0d0d,
        entries: two_entries(),
    };
    let (fixed, tail) = split_tail(
        encode(&Command::ResourceCreateBlob(create)),
        size_of::<uapi::virtio_gpu_resource_create_blob>(),
    );
    layout!(fixed, virtio_gpu_resource_create_blob, {
        hdr.type_ = 0x010cu32, resource_id = 9u32, blob_mem = 3u32, blob_flags = 6u32,
        nr_entries = 2u32, blob_id = 0x0a0a_0a0a_0b0b_0b0bu64, size = 0x0c0c_0c0c_0d0d_0d0du64,
    });
    check_entries(tail);
}

#[test]
fn other_blob_commands() {
    let scanout = SetScanoutBlob {
        rect: RECT,
        scanout_id: 1,
        resource_id: 2,
        width: 3,
        height: 4,
        format_code: 5,
        strides: [6, 0, 0, 7],
        offsets: [8, 0, 0, 9],
    };
    let mut bytes = encode(&Command::SetScanoutBlob(scanout));
    for (offset, value) in [
        (offset_of!(uapi::virtio_gpu_set_scanout_blob, strides), 6),
        (
            offset_of!(uapi::virtio_gpu_set_scanout_blob, strides) + 12,
            7,
        ),
        (offset_of!(uapi::virtio_gpu_set_scanout_blob, offsets), 8),
        (
            offset_of!(uapi::virtio_gpu_set_scanout_blob, offsets) + 12,
            9,
        ),
    ] {
        assert_eq!(bytes[offset], value);
        bytes[offset] = 0;
    }
    layout!(bytes, virtio_gpu_set_scanout_blob, {
        hdr.type_ = 0x010du32,
        r.x = 0x11u32, r.y = 0x12u32, r.width = 0x13u32, r.height = 0x14u32,
        scanout_id = 1u32, resource_id = 2u32, width = 3u32, height = 4u32, format = 5u32,
    });
    let map = ResourceMapBlob {
        resource_id: 10,
        offset: 0x1122_3344_5566_7788,
    };
    layout!(encode(&Command::ResourceMapBlob(map)), virtio_gpu_resource_map_blob, {
        hdr.type_ = 0x0208u32, resource_id = 10u32, offset = 0x1122_3344_5566_7788u64,
    });
}

#[test]
fn questions() {
    let info = GetCapsetInfo { index: 1 };
    layout!(encode(&Command::GetCapsetInfo(info)), virtio_gpu_get_capset_info, {
        hdr.type_ = 0x0108u32, capset_index = 1u32,
    });
    let capset = GetCapset {
        id: CapsetId(2),
        version: 3,
    };
    layout!(encode(&Command::GetCapset(capset)), virtio_gpu_get_capset, {
        hdr.type_ = 0x0109u32, capset_id = 2u32, capset_version = 3u32,
    });
    let edid = GetEdid { scanout_id: 4 };
    layout!(encode(&Command::GetEdid(edid)), virtio_gpu_cmd_get_edid, {
        hdr.type_ = 0x010au32, scanout = 4u32,
    });
}

#[test]
fn context_create() {
    let create = CtxCreate {
        init: ContextInit(0x104),
        name: ContextName::new(b"ab").unwrap(),
    };
    let mut bytes = encode(&Command::CtxCreate(create));
    let name = offset_of!(uapi::virtio_gpu_ctx_create, debug_name);
    assert_eq!(bytes[name..name + 2], *b"ab");
    bytes[name..name + 2].fill(0);
    layout!(bytes, virtio_gpu_ctx_create, {
        hdr.type_ = 0x0200u32, nlen = 2u32, context_init = 0x104u32,
    });
}

#[test]
fn threed() {
    let create = ResourceCreate3d {
        resource_id: 1,
        target: 2,
        format: 3,
        bind: 4,
        width: 5,
        height: 6,
        depth: 7,
        array_size: 8,
        last_level: 9,
        nr_samples: 10,
        flags: Resource3dFlags::from_bits_retain(11),
    };
    layout!(encode(&Command::ResourceCreate3d(create)), virtio_gpu_resource_create_3d, {
        hdr.type_ = 0x0204u32, resource_id = 1u32, target = 2u32, format = 3u32, bind = 4u32,
        width = 5u32, height = 6u32, depth = 7u32, array_size = 8u32, last_level = 9u32,
        nr_samples = 10u32, flags = 11u32,
    });
    let transfer = Transfer3d {
        region: Box3d {
            x: 1,
            y: 2,
            z: 3,
            width: 4,
            height: 5,
            depth: 6,
        },
        offset: 7 << 32,
        resource_id: 8,
        level: 9,
        stride: 10,
        layer_stride: 11,
    };
    for (command, kind) in [
        (Command::TransferToHost3d(transfer), 0x0205u32),
        (Command::TransferFromHost3d(transfer), 0x0206),
    ] {
        layout!(encode(&command), virtio_gpu_transfer_host_3d, {
            hdr.type_ = kind,
            box_.x = 1u32, box_.y = 2u32, box_.z = 3u32, box_.w = 4u32, box_.h = 5u32, box_.d = 6u32,
            offset = 7u64 << 32, resource_id = 8u32, level = 9u32, stride = 10u32,
            layer_stride = 11u32,
        });
    }
}

#[test]
fn submit() {
    let submit = Submit3d {
        stream: b"stream"[..].into(),
    };
    let (fixed, tail) = split_tail(
        encode(&Command::Submit3d(submit)),
        size_of::<uapi::virtio_gpu_cmd_submit>(),
    );
    layout!(fixed, virtio_gpu_cmd_submit, { hdr.type_ = 0x0207u32, size = 6u32 });
    assert_eq!(tail, b"stream");
}

#[test]
fn cursor() {
    let cursor = Cursor {
        position: CursorPosition {
            scanout_id: 1,
            x: 2,
            y: 3,
        },
        resource_id: 4,
        hot_x: 5,
        hot_y: 6,
    };
    for (command, kind) in [
        (Command::UpdateCursor(cursor), 0x0300u32),
        (Command::MoveCursor(cursor), 0x0301),
    ] {
        layout!(encode(&command), virtio_gpu_update_cursor, {
            hdr.type_ = kind, pos.scanout_id = 1u32, pos.x = 2u32, pos.y = 3u32,
            resource_id = 4u32, hot_x = 5u32, hot_y = 6u32,
        });
    }
}

#[test]
fn display_info() {
    let mut modes = DisplayInfo::default();
    modes[15] = DisplayMode {
        rect: RECT,
        enabled: true,
        flags: 0x15,
    };
    let (mut bytes, kind) = answer(&Response::OkDisplayInfo(Box::new(modes)));
    let mode = size_of::<uapi::virtio_gpu_resp_display_info_virtio_gpu_display_one>();
    let last = bytes.split_off(bytes.len() - mode);
    layout!(last, virtio_gpu_resp_display_info_virtio_gpu_display_one, {
        r.x = 0x11u32, r.y = 0x12u32, r.width = 0x13u32, r.height = 0x14u32,
        enabled = 1u32, flags = 0x15u32,
    });
    bytes.extend(vec![0; mode]);
    layout!(bytes, virtio_gpu_resp_display_info, { hdr.type_ = kind });
}

#[test]
fn responses() {
    let info = CapsetInfo {
        id: CapsetId(1),
        max_version: 2,
        max_size: 3,
    };
    let (bytes, kind) = answer(&Response::OkCapsetInfo(info));
    layout!(bytes, virtio_gpu_resp_capset_info, {
        hdr.type_ = kind, capset_id = 1u32, capset_max_version = 2u32, capset_max_size = 3u32,
    });
    let (bytes, kind) = answer(&Response::OkMapInfo(MapCaching::WriteCombining));
    layout!(bytes, virtio_gpu_resp_map_info, { hdr.type_ = kind, map_info = 3u32 });
    for response in [Response::OkNoData, ErrorCode::OutOfMemory.into()] {
        let (bytes, kind) = answer(&response);
        layout!(bytes, virtio_gpu_ctrl_hdr, { type_ = kind });
    }
}

#[test]
fn responses_with_bytes() {
    let (bytes, _) = answer(&Response::OkCapset(b"capset".to_vec()));
    assert_eq!(
        bytes[offset_of!(uapi::virtio_gpu_resp_capset, capset_data)..],
        *b"capset"
    );

    let edid = Edid::new(b"edid".to_vec()).unwrap();
    let (mut bytes, kind) = answer(&Response::OkEdid(edid));
    let at = offset_of!(uapi::virtio_gpu_resp_edid, edid);
    assert_eq!(bytes[at..at + 4], *b"edid");
    bytes[at..at + 4].fill(0);
    layout!(bytes, virtio_gpu_resp_edid, { hdr.type_ = kind, size = 4u32 });

    let text = "00112233-4455-6677-8899-aabbccddeeff";
    let (bytes, _) = answer(&Response::OkResourceUuid(text.parse().unwrap()));
    let at = offset_of!(uapi::virtio_gpu_resp_resource_uuid, uuid);
    assert_eq!(
        bytes.len(),
        size_of::<uapi::virtio_gpu_resp_resource_uuid>()
    );
    let in_order = [
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
    ];
    assert_eq!(bytes[at..], in_order);
}

#[test]
fn config() {
    let config = Config {
        events_read: Events::from_bits_retain(1),
        events_clear: Events::from_bits_retain(2),
        num_scanouts: 3,
        num_capsets: 4,
        blob_alignment: 0,
    };
    let old = size_of::<uapi::virtio_gpu_config>();
    layout!(config.encode()[..old].to_vec(), virtio_gpu_config, {
        events_read = 1u32, events_clear = 2u32, num_scanouts = 3u32, num_capsets = 4u32,
    });
    assert_eq!(
        Config::EVENTS_CLEAR_OFFSET,
        offset_of!(uapi::virtio_gpu_config, events_clear)
    );
}
