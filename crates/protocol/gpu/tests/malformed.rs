//! Malformed messages, one by one: what is said about each, and with which
//! error a device answers.

use landbridge_protocol_gpu::*;

const FENCE: u64 = 0x00f0_0d00_c0ff_ee00;

fn header() -> ControlHeader {
    ControlHeader::in_context(3).with_fence(FENCE)
}

/// A message of type `kind` with these 32-bit words for its body.
fn message(kind: u32, words: &[u32]) -> Vec<u8> {
    let mut bytes = Command::GetDisplayInfo.encode(&header());
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

fn short(what: &'static str, need: usize, have: usize) -> ParseError {
    ParseError::TooShort { what, need, have }
}

#[test]
fn bad_commands() {
    use ParseError::*;
    const BAD_PARAMETER: ErrorCode = ErrorCode::InvalidParameter;
    const UNSPECIFIED: ErrorCode = ErrorCode::Unspecified;
    let cases: &[(u32, &[u32], ParseError, ErrorCode)] = &[
        // Types between, below and above the known ones, and a response's.
        (0, &[0; 8], UnknownCommand { kind: 0 }, UNSPECIFIED),
        (0x00ff, &[], UnknownCommand { kind: 0x00ff }, UNSPECIFIED),
        (
            0x010e,
            &[0; 8],
            UnknownCommand { kind: 0x010e },
            UNSPECIFIED,
        ),
        (
            0x020a,
            &[0; 8],
            UnknownCommand { kind: 0x020a },
            UNSPECIFIED,
        ),
        (
            0x0302,
            &[0; 8],
            UnknownCommand { kind: 0x0302 },
            UNSPECIFIED,
        ),
        (
            0x1100,
            &[0; 8],
            UnknownCommand { kind: 0x1100 },
            UNSPECIFIED,
        ),
        (
            u32::MAX,
            &[0; 8],
            UnknownCommand { kind: u32::MAX },
            UNSPECIFIED,
        ),
        // Bodies that stop early.
        (
            0x0101,
            &[1, 1, 4],
            short("virtio_gpu_resource_create_2d", 16, 12),
            BAD_PARAMETER,
        ),
        (
            0x0102,
            &[],
            short("a command's resource id", 8, 0),
            BAD_PARAMETER,
        ),
        (
            0x0102,
            &[1],
            short("a command's resource id", 8, 4),
            BAD_PARAMETER,
        ),
        (
            0x010d,
            &[0; 17],
            short("virtio_gpu_set_scanout_blob", 72, 68),
            BAD_PARAMETER,
        ),
        (
            0x0200,
            &[0; 17],
            short("virtio_gpu_ctx_create", 72, 68),
            BAD_PARAMETER,
        ),
        (
            0x0300,
            &[0; 7],
            short("virtio_gpu_update_cursor", 32, 28),
            BAD_PARAMETER,
        ),
        // Formats that virtio doesn't have.
        (
            0x0101,
            &[1, 0, 4, 4],
            UnknownFormat { value: 0 },
            BAD_PARAMETER,
        ),
        (
            0x0101,
            &[1, 135, 4, 4],
            UnknownFormat { value: 135 },
            BAD_PARAMETER,
        ),
        // Entry counts that the bytes don't bear out.
        (
            0x0106,
            &[1, 1],
            TooManyEntries { count: 1, room: 0 },
            BAD_PARAMETER,
        ),
        (
            0x0106,
            &[1, 2, 0, 0, 0, 0],
            TooManyEntries { count: 2, room: 1 },
            BAD_PARAMETER,
        ),
        (
            0x0106,
            &[1, 2, 0, 0, 0, 0, 0, 0, 0],
            TooManyEntries { count: 2, room: 1 },
            BAD_PARAMETER,
        ),
        (
            0x0106,
            &[1, 1 << 28],
            TooManyEntries {
                count: 1 << 28,
                room: 0,
            },
            BAD_PARAMETER,
        ),
        (
            0x0106,
            &[1, u32::MAX],
            TooManyEntries {
                count: u32::MAX,
                room: 0,
            },
            BAD_PARAMETER,
        ),
        (
            0x010c,
            &[1, 1, 1, u32::MAX, 0, 0, 0x1000, 0],
            TooManyEntries {
                count: u32::MAX,
                room: 0,
            },
            BAD_PARAMETER,
        ),
        // Blob memory types and flags that nobody specified.
        (
            0x010c,
            &[1, 0, 1, 0, 0, 0, 0x1000, 0],
            UnknownBlobMem { value: 0 },
            BAD_PARAMETER,
        ),
        (
            0x010c,
            &[1, 4, 1, 0, 0, 0, 0x1000, 0],
            UnknownBlobMem { value: 4 },
            BAD_PARAMETER,
        ),
        (
            0x010c,
            &[1, 1, 9, 0, 0, 0, 0x1000, 0],
            UnknownBlobFlags { unknown: 8 },
            BAD_PARAMETER,
        ),
        // Streams longer than what follows.
        (
            0x0207,
            &[1, 0],
            StreamTooShort { size: 1, have: 0 },
            BAD_PARAMETER,
        ),
        (
            0x0207,
            &[u32::MAX, 0, 7],
            StreamTooShort {
                size: u32::MAX,
                have: 4,
            },
            BAD_PARAMETER,
        ),
    ];
    for (kind, words, error, code) in cases {
        let bad = Request::parse(&message(*kind, words)).unwrap_err();
        assert_eq!(bad.error, *error, "{kind:#06x} {words:?}");
        assert_eq!(bad.error.code(), *code, "{kind:#06x} {words:?}");
        assert_eq!(bad.header, header(), "{kind:#06x} {words:?}");
    }
}

#[test]
fn a_bad_body_is_answered_with_its_fence() {
    let bad = Request::parse(&message(0x0106, &[1, u32::MAX])).unwrap_err();
    let reply = Response::from(&bad.error).encode(&bad.header);
    let (echo, response) = Response::parse(&reply).unwrap();
    assert_eq!(echo.fence(), Some(FENCE));
    assert_eq!(echo.ctx_id, 3);
    assert_eq!(response, Response::Error(ErrorCode::InvalidParameter));
}

#[test]
fn context_names_past_their_field() {
    for len in [65, 1 << 20, u32::MAX] {
        let mut words = [0; 18];
        words[0] = len;
        let bad = Request::parse(&message(0x0200, &words)).unwrap_err();
        assert!(matches!(bad.error, ParseError::NameTooLong { max: 64, .. }));
    }
}

#[test]
fn a_scanout_is_turned_off_without_a_format() {
    let bytes = message(0x010d, &[0; 18]);
    let Ok(Command::SetScanoutBlob(scanout)) = Command::parse(&bytes) else {
        panic!("refused");
    };
    assert_eq!(scanout, SetScanoutBlob::default());
    assert_eq!(
        scanout.format(),
        Err(ParseError::UnknownFormat { value: 0 })
    );
}

#[test]
fn bad_responses() {
    use ParseError::*;
    let cases: &[(u32, &[u32], ParseError)] = &[
        (0x0100, &[], UnknownResponse { kind: 0x0100 }),
        (0x10ff, &[], UnknownResponse { kind: 0x10ff }),
        (0x1107, &[0; 8], UnknownResponse { kind: 0x1107 }),
        (0x11ff, &[0; 8], UnknownResponse { kind: 0x11ff }),
        (0x1206, &[0; 8], UnknownResponse { kind: 0x1206 }),
        (
            0x1101,
            &[0; 95],
            short("virtio_gpu_resp_display_info", 384, 380),
        ),
        (
            0x1102,
            &[0; 3],
            short("virtio_gpu_resp_capset_info", 16, 12),
        ),
        (0x1104, &[0; 257], short("virtio_gpu_resp_edid", 1032, 1028)),
        (
            0x1105,
            &[0; 3],
            short("virtio_gpu_resp_resource_uuid", 16, 12),
        ),
        (0x1106, &[1], short("virtio_gpu_resp_map_info", 8, 4)),
        (0x1106, &[4, 0], UnknownMapInfo { value: 4 }),
        // The kernel compares all bits, not only the caching mask.
        (0x1106, &[0x11, 0], UnknownMapInfo { value: 0x11 }),
    ];
    for (kind, words, error) in cases {
        let parsed = Response::parse(&message(*kind, words));
        assert_eq!(parsed, Err(error.clone()), "{kind:#06x} {words:?}");
    }
}

#[test]
fn an_edid_longer_than_its_field() {
    let mut words = [0; 258];
    words[0] = 1025;
    let error = ParseError::EdidTooLong {
        len: 1025,
        max: 1024,
    };
    assert_eq!(
        Response::parse(&message(0x1104, &words)),
        Err(error.clone())
    );
    assert_eq!(Edid::new(vec![0; 1025]), Err(error));
}

#[test]
fn padding_means_nothing() {
    let clean = message(0x0102, &[7, 0]);
    let mut dirty = message(0x0102, &[7, u32::MAX]);
    dirty[21..24].fill(0xff);
    assert_eq!(Request::parse(&dirty), Request::parse(&clean));
}
