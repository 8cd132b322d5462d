//! Frames into buffers.

use jpeg_encoder::SamplingFactor;
use proptest::prelude::*;

use crate::made::{find, jpeg, jpeg_of, picture};
use landbridge_device_media::{Clip, Error, Fault, Layout, PixelFormat, compare, decode_into};

const FORMATS: [PixelFormat; 4] = [
    PixelFormat::B8g8r8a8,
    PixelFormat::B8g8r8x8,
    PixelFormat::R8g8b8a8,
    PixelFormat::R8g8b8x8,
];

fn layout(clip: &Clip, format: PixelFormat) -> Layout {
    Layout::packed(clip.width(), clip.height(), format).unwrap()
}

#[test]
fn red_goes_where_the_format_says() {
    let red = jpeg_of(&[255, 0, 0].repeat(64), (8, 8), SamplingFactor::F_1_1, 100);
    let clip = Clip::parse(red).unwrap();
    for format in FORMATS {
        let mut pixels = [0; 256];
        decode_into(&clip.frame(0).unwrap(), &mut pixels, &layout(&clip, format)).unwrap();
        let (red, blue) = if format.blue_first() { (2, 0) } else { (0, 2) };
        assert!(
            pixels[red] > 250 && pixels[blue] < 5,
            "{format}: {:?}",
            &pixels[..4]
        );
    }
}

/// Odd sizes exercise the decoder's edges: every byte of the picture is
/// written, whatever was there before, and none behind it.
#[test]
fn every_byte_is_written_and_none_beyond() {
    for (width, height) in [(1, 1), (7, 9), (16, 16), (17, 33), (67, 45)] {
        for sampling in [
            SamplingFactor::F_1_1,
            SamplingFactor::F_2_1,
            SamplingFactor::F_1_2,
            SamplingFactor::F_2_2,
        ] {
            let rgb = picture(width, height, 9);
            let clip = Clip::parse(jpeg_of(&rgb, (width, height), sampling, 90)).unwrap();
            let frame = clip.frame(0).unwrap();
            let layout = layout(&clip, PixelFormat::B8g8r8x8);
            let len = layout.byte_len().unwrap();
            let mut zeros = vec![0x00; len + 64];
            let mut ones = vec![0xff; len + 64];
            decode_into(&frame, &mut zeros, &layout).unwrap();
            decode_into(&frame, &mut ones, &layout).unwrap();
            assert_eq!(zeros[..len], ones[..len], "{width}x{height} {sampling:?}");
            assert!(zeros[len..].iter().all(|&byte| byte == 0x00));
            assert!(ones[len..].iter().all(|&byte| byte == 0xff));
            assert!(zeros[..len].chunks(4).all(|pixel| pixel[3] == 255));
            assert_eq!(
                compare(&frame, &zeros, &layout).unwrap().mismatched_pixels,
                0
            );
        }
    }
}

#[test]
fn grey_is_decoded_in_every_format() {
    let mut bytes = Vec::new();
    let grey: Vec<u8> = (0..=255).collect();
    jpeg_encoder::Encoder::new(&mut bytes, 95)
        .encode(&grey, 16, 16, jpeg_encoder::ColorType::Luma)
        .unwrap();
    let clip = Clip::parse(bytes).unwrap();
    for format in FORMATS {
        let mut pixels = [0; 1024];
        let layout = layout(&clip, format);
        decode_into(&clip.frame(0).unwrap(), &mut pixels, &layout).unwrap();
        assert!(
            pixels
                .chunks(4)
                .all(|p| p[0] == p[1] && p[1] == p[2] && p[3] == 255)
        );
        let result = compare(&clip.frame(0).unwrap(), &pixels, &layout).unwrap();
        assert_eq!(result.mismatched_pixels, 0);
    }
}

#[test]
fn a_buffer_that_does_not_suit_is_left_alone() {
    let clip = Clip::parse(jpeg(24, 16, 1)).unwrap();
    let frame = clip.frame(0).unwrap();
    let good = layout(&clip, PixelFormat::B8g8r8x8);
    let mut pixels = vec![7; 24 * 16 * 4];

    let strided = Layout {
        stride: 128,
        ..good
    };
    let error = decode_into(&frame, &mut vec![7; 128 * 16], &strided).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Stride {
                stride: 128,
                packed: 96,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Caller);

    let larger = Layout { height: 17, ..good };
    let error = decode_into(&frame, &mut pixels, &larger).unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error}");

    let error = decode_into(&frame, &mut pixels[..24 * 16 * 4 - 1], &good).unwrap_err();
    assert!(
        matches!(
            error,
            Error::ShortBuffer {
                len: 1535,
                needed: 1536
            }
        ),
        "{error}"
    );
    assert!(pixels.iter().all(|&byte| byte == 7));
}

/// Cameras leave the standard's Huffman tables out of Motion-JPEG and say
/// `AVI1` instead.
#[test]
fn avi1_frames_without_tables_get_the_standard_ones() {
    let whole = jpeg(40, 24, 1);
    let mut bare = whole.clone();
    while let Some(at) = bare.windows(2).position(|two| two == [0xff, 0xc4]) {
        let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
        bare.drain(at..at + 2 + length);
    }
    assert!(bare.len() + 400 < whole.len(), "the tables are gone");
    let jfif = find(&bare, b"JFIF\0", 0);
    bare[jfif..jfif + 5].copy_from_slice(b"AVI1\0");

    let [whole, bare] = [whole, bare].map(|bytes| Clip::parse(bytes).unwrap());
    let layout = layout(&whole, PixelFormat::B8g8r8x8);
    let mut expected = vec![0; layout.byte_len().unwrap()];
    let mut pixels = expected.clone();
    decode_into(&whole.frame(0).unwrap(), &mut expected, &layout).unwrap();
    decode_into(&bare.frame(0).unwrap(), &mut pixels, &layout).unwrap();
    assert_eq!(pixels, expected);
    let result = compare(&bare.frame(0).unwrap(), &pixels, &layout).unwrap();
    assert_eq!(result.mismatched_pixels, 0);
}

/// What can't be seen from outside: the tables are gone, or the coded data
/// is not what they describe.
#[test]
fn damage_inside_names_frame_and_byte() {
    let good = jpeg(64, 64, 1);
    let mut bad = good.clone();
    let tables = find(&bad, &[0xff, 0xc4], 0);
    bad[tables + 1] = 0xfe;
    let clip = Clip::parse([good.clone(), bad].concat()).unwrap();
    let layout = layout(&clip, PixelFormat::B8g8r8x8);
    let mut pixels = vec![0; layout.byte_len().unwrap()];
    decode_into(&clip.frame(0).unwrap(), &mut pixels, &layout).unwrap();
    let error = decode_into(&clip.frame(1).unwrap(), &mut pixels, &layout).unwrap_err();
    assert_eq!(error.fault(), Fault::Clip);
    let text = error.to_string();
    assert!(
        text.contains(&format!("frame 1, which starts at byte {}", good.len())),
        "{text}"
    );
}

#[test]
fn colours_other_than_ycbcr_are_refused() {
    let mut bytes = jpeg(24, 16, 1);
    // An Adobe segment that says: no transform.
    let adobe = [
        &[0xff, 0xee, 0, 14],
        b"Adobe".as_slice(),
        &[0, 100, 0, 0, 0, 0, 0],
    ]
    .concat();
    bytes.splice(2..2, adobe);
    let clip = Clip::parse(bytes).unwrap();
    let layout = layout(&clip, PixelFormat::B8g8r8x8);
    let mut pixels = vec![0; layout.byte_len().unwrap()];
    let error = decode_into(&clip.frame(0).unwrap(), &mut pixels, &layout).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Undecodable {
                frame: 0,
                offset: 0,
                ..
            }
        ),
        "{error}"
    );
}

proptest! {
    /// Whatever the coded data is, decoding ends with success or an error that
    /// names the frame, and stays within the buffer.
    #[test]
    fn damage_inside_never_panics_and_stays_in_the_buffer(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        sampling in prop_oneof![
            Just(SamplingFactor::F_1_1), Just(SamplingFactor::F_2_1),
            Just(SamplingFactor::F_1_2), Just(SamplingFactor::F_2_2),
        ],
        size in (1u16..70, 1u16..70),
    ) {
        let mut bytes = jpeg_of(&picture(size.0, size.1, 3), size, sampling, 60);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(clip) = Clip::parse(bytes) {
            // A damaged header can ask for 8192 times 8192.
            prop_assume!(clip.width() * clip.height() < 1 << 20);
            let layout = layout(&clip, PixelFormat::B8g8r8x8);
            let len = layout.byte_len().unwrap();
            let mut pixels = vec![7; len + 64];
            let result = decode_into(&clip.frame(0).unwrap(), &mut pixels, &layout);
            if let Err(error) = result {
                prop_assert_eq!(error.fault(), Fault::Clip);
                prop_assert!(error.to_string().starts_with("frame 0,"));
            }
            prop_assert!(pixels[len..].iter().all(|&byte| byte == 7));
        }
    }
}
