//! Bad clips: each is refused with the frame and the byte where it goes wrong.

use crate::made::{avi, avi_with, chunk, find, headers, jpeg, list, lying_chunk, riff, video};
use landbridge_device_media::error::FourCc;
use landbridge_device_media::{Clip, Defect, Error, Fault};

/// Asserts where and why the clip is refused.
#[track_caller]
fn refused(bytes: Vec<u8>, frame: usize, offset: usize, defect: Defect) {
    let error = Clip::parse(bytes).expect_err("the clip is bad");
    assert_eq!(error.fault(), Fault::Clip);
    let text = error.to_string();
    assert!(
        text.contains(&format!("frame {frame}, byte {offset}: {defect}")),
        "{text}"
    );
    match error {
        Error::BadClip {
            frame: f,
            offset: o,
            defect: d,
        } => {
            assert_eq!((f, o, d), (frame, offset, defect));
        }
        other => panic!("{other}"),
    }
}

fn one() -> Vec<u8> {
    jpeg(24, 16, 1)
}

/// A good frame, then a bad one.
fn second(bad: &[u8]) -> Vec<u8> {
    [one().as_slice(), bad].concat()
}

/// The marker's place in [`one`].
fn marker(code: u8) -> usize {
    find(&one(), &[0xff, code], 0)
}

/// [`one`] with a byte of the segment `code` set, counted from its marker.
fn with_byte(code: u8, at: usize, value: u8) -> Vec<u8> {
    let mut bytes = one();
    bytes[marker(code) + at] = value;
    bytes
}

#[test]
fn files_that_are_no_clip() {
    refused(vec![], 0, 0, Defect::Empty);
    refused(b"hello, world".to_vec(), 0, 0, Defect::UnknownContainer);
    refused(
        b"\x89PNG\r\n\x1a\n".to_vec(),
        0,
        0,
        Defect::UnknownContainer,
    );
    refused(
        b"RIFF\x24\0\0\0WAVEfmt ".to_vec(),
        0,
        0,
        Defect::UnknownContainer,
    );
    refused(b"RIFF\x24\0".to_vec(), 0, 6, Defect::Truncated);
    refused(
        b"\xff\xfb\x90\x64".to_vec(),
        0,
        0,
        Defect::NotJpeg {
            found: [0xff, 0xfb],
        },
    );
}

#[test]
fn a_file_that_cannot_be_read_is_the_hosts_fault() {
    let error = Clip::open("/no/such/clip.avi").unwrap_err();
    assert_eq!(error.fault(), Fault::Host);
    assert!(error.to_string().contains("/no/such/clip.avi"));
}

#[test]
fn jpegs_cut_anywhere_but_between_frames() {
    let (first, whole) = (one().len(), second(&one()));
    for len in 1..whole.len() {
        if len == first {
            assert_eq!(Clip::parse(whole[..len].to_vec()).unwrap().len(), 1);
        } else {
            refused(whole[..len].to_vec(), len / first, len, Defect::Truncated);
        }
    }
}

#[test]
fn an_avi_cut_anywhere() {
    let whole = avi(&[video(&one()), video(&one())]);
    let ends = [0, 1].map(|nth| find(&whole, b"01dc", nth) + 8 + one().len());
    let last = whole.len() - usize::from(one().len() % 2 == 1);
    for len in 12..last {
        let error = Clip::parse(whole[..len].to_vec()).expect_err("cut");
        let Error::BadClip {
            frame,
            offset,
            defect,
        } = error
        else {
            panic!("{error}");
        };
        let whole_frames = ends.iter().filter(|&&end| end <= len).count();
        assert_eq!(frame, whole_frames, "cut at {len}: {defect}");
        match defect {
            Defect::Truncated => assert_eq!(offset, len),
            // The chunk in which the file ends.
            Defect::ChunkOverrun { available, .. } => assert_eq!(offset + 8 + available, len),
            other => panic!("cut at {len}: {other}"),
        }
    }
}

#[test]
fn what_is_between_frames_must_be_frames() {
    let end = one().len();
    refused(second(b"junk"), 1, end, Defect::NotJpeg { found: *b"ju" });
    refused(second(&[0xff]), 1, end + 1, Defect::Truncated);
}

#[test]
fn sizes_that_can_not_be() {
    let at = one().len() + marker(0xc0);
    let zero = |width, height| Defect::ZeroSize { width, height };
    let bad = second(&with_byte(0xc0, 6, 0));
    refused(bad, 1, at, zero(24, 0));
    let bad = second(&with_byte(0xc0, 8, 0));
    refused(bad, 1, at, zero(0, 16));
    let bad = second(&with_byte(0xc0, 7, 0xff));
    let defect = Defect::Oversize {
        width: 0xff18,
        height: 16,
        limit: 8192,
    };
    refused(bad, 1, at, defect);
    // Just past the limit.
    let mut bad = with_byte(0xc0, 5, 0x20);
    bad[marker(0xc0) + 6] = 1;
    let defect = Defect::Oversize {
        width: 24,
        height: 8193,
        limit: 8192,
    };
    refused(bad, 0, marker(0xc0), defect);
}

#[test]
fn a_size_or_components_that_change_midway() {
    let bad = [one(), one(), jpeg(24, 24, 1)].concat();
    let defect = Defect::SizeChanged {
        from: (24, 16),
        to: (24, 24),
    };
    refused(bad, 2, 2 * one().len(), defect);

    let grey = {
        let mut bytes = Vec::new();
        jpeg_encoder::Encoder::new(&mut bytes, 90)
            .encode(&[9; 24 * 16], 24, 16, jpeg_encoder::ColorType::Luma)
            .unwrap();
        bytes
    };
    let bad = avi(&[video(&one()), video(&grey)]);
    let at = find(&bad, b"01dc", 1) + 8;
    refused(bad, 1, at, Defect::ComponentsChanged { from: 3, to: 1 });
}

#[test]
fn codings_that_can_not_be_decoded_row_by_row() {
    let at = marker(0xc0);
    for (code, defect) in [
        (0xc2, Defect::Progressive),
        (0xc3, Defect::Coding(0xc3)),
        (0xc9, Defect::Coding(0xc9)),
        (0xcc, Defect::Coding(0xcc)),
    ] {
        refused(with_byte(0xc0, 1, code), 0, at, defect);
    }
    refused(with_byte(0xc0, 4, 12), 0, at, Defect::Precision(12));
    refused(with_byte(0xc0, 9, 4), 0, at, Defect::Components(4));
    refused(with_byte(0xc0, 9, 0), 0, at, Defect::Components(0));
    // 4:1:0 and its like.
    refused(with_byte(0xc0, 11, 0x44), 0, at, Defect::Sampling);
    refused(with_byte(0xc0, 14, 0x21), 0, at, Defect::Sampling);

    // The scan header claims one component; then one scan follows another.
    refused(with_byte(0xda, 4, 1), 0, marker(0xda), Defect::SeveralScans);
    let mut bad = one();
    let end = bad.len() - 2;
    bad.splice(end.., [0xff, 0xda, 0, 2]);
    refused(bad, 0, end, Defect::SeveralScans);
}

#[test]
fn segments_that_make_no_sense() {
    let end = one().len() - 2;
    refused(
        with_byte(0xdb, 3, 1),
        0,
        marker(0xdb),
        Defect::BadSegment {
            marker: 0xdb,
            length: 1,
        },
    );
    refused(
        with_byte(0xc0, 3, 12),
        0,
        marker(0xc0),
        Defect::BadSegment {
            marker: 0xc0,
            length: 12,
        },
    );
    refused(
        with_byte(0xda, 4, 9),
        0,
        marker(0xda),
        Defect::BadSegment {
            marker: 0xda,
            length: 12,
        },
    );
    refused(
        with_byte(0xdb, 0, 0x12),
        0,
        marker(0xdb),
        Defect::NoMarker(0x12),
    );
    refused(
        with_byte(0xdb, 1, 0xd8),
        0,
        marker(0xdb),
        Defect::UnexpectedMarker(0xd8),
    );
    refused(
        with_byte(0xdb, 1, 0xd9),
        0,
        marker(0xdb),
        Defect::UnexpectedMarker(0xd9),
    );
    // Tables after the scan: a decoder would stop there and call it done.
    let mut bad = one();
    bad.splice(end..end, [0xff, 0xfe, 0, 2]);
    refused(bad, 0, end, Defect::UnexpectedMarker(0xfe));
    // A scan without a frame header.
    let mut bad = one();
    let sof = marker(0xc0);
    bad.drain(sof..sof + 19);
    refused(bad, 0, marker(0xda) - 19, Defect::UnexpectedMarker(0xda));
}

#[test]
fn avi_chunks_that_lie() {
    let frame = one();
    // Beyond the list that holds it.
    let bad = avi(&[video(&frame), lying_chunk(b"01dc", 0xffff_ffff, &frame)]);
    let at = find(&bad, b"01dc", 1);
    let defect = Defect::ChunkOverrun {
        id: FourCc(*b"01dc"),
        size: 0xffff_ffff,
        available: bad.len() - at - 8,
    };
    refused(bad, 1, at, defect);
    // Shorter than the image that it holds.
    let bad = avi(&[video(&frame), lying_chunk(b"01dc", 100, &frame)]);
    let at = find(&bad, b"01dc", 1);
    refused(bad, 1, at + 8 + 100, Defect::Truncated);
    // Sound counts as well: where it ends, the next chunk starts.
    let bad = avi(&[video(&frame), lying_chunk(b"00wb", 500, b"beep")]);
    let at = find(&bad, b"00wb", 0);
    let defect = Defect::ChunkOverrun {
        id: FourCc(*b"00wb"),
        size: 500,
        available: 4,
    };
    refused(bad, 1, at, defect);
    // A list that claims more than the file holds has its frames read first.
    let movie = [b"movi".as_slice(), &video(&frame)].concat();
    let bad = riff(
        b"AVI ",
        &[headers(b"MJPG"), lying_chunk(b"LIST", 1 << 30, &movie)],
    );
    let at = bad.len();
    refused(bad, 1, at, Defect::Truncated);
}

#[test]
fn avi_files_without_a_picture() {
    let bad = avi(&[]);
    let end = bad.len();
    refused(bad, 0, end, Defect::NoFrames);
    let bad = avi(&[chunk(b"00wb", b"sound only")]);
    let end = bad.len();
    refused(bad, 0, end, Defect::NoFrames);
    let bad = riff(b"AVI ", &[]);
    refused(bad, 0, 12, Defect::NoFrames);
    let bad = avi(&[video(&[])]);
    let at = find(&bad, b"01dc", 0);
    refused(bad, 0, at, Defect::EmptyFrame);
}

#[test]
fn avi_frames_that_are_no_jpeg() {
    let bad = avi(&[video(&one()), video(b"no picture")]);
    let at = find(&bad, b"01dc", 1) + 8;
    refused(bad, 1, at, Defect::NotJpeg { found: *b"no" });
    let bad = avi_with(b"H264", &[video(&[0, 0, 0, 1, 0x67])]);
    let at = find(&bad, b"01dc", 0) + 8;
    refused(
        bad,
        0,
        at,
        Defect::OtherCodec {
            codec: FourCc(*b"H264"),
        },
    );
    let bad = avi(&[video(&second(&one()))]);
    let at = find(&bad, b"01dc", 0) + 8 + one().len();
    refused(bad, 0, at, Defect::Interlaced);
    // Two bytes of frame can't be told from an image that was cut.
    let bad = avi(&[video(&[0xff])]);
    let at = find(&bad, b"01dc", 0) + 9;
    refused(bad, 0, at, Defect::Truncated);
}

#[test]
fn lists_nested_without_end() {
    let mut records = list(b"rec ", &[video(&one())]);
    for _ in 0..10 {
        records = list(b"rec ", &[records]);
    }
    let bad = avi(&[video(&one()), records]);
    let at = find(&bad, b"rec ", 4) - 8;
    refused(bad, 1, at, Defect::TooDeep(6));
}
