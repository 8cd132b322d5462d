//! How far two correct decoders are apart, and that everything wrong is
//! farther.

use crate::made::jpeg_of;
use jpeg_encoder::SamplingFactor;
use landbridge_device_media::{
    Clip, Comparison, Layout, PixelFormat, compare, decode_into, reference,
};

const FORMAT: PixelFormat = PixelFormat::B8g8r8x8;

fn shipped() -> Clip {
    Clip::open(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../assets/demo.avi"
    ))
    .unwrap()
}

fn decoded(clip: &Clip, index: usize) -> (Vec<u8>, Layout) {
    let layout = Layout::packed(clip.width(), clip.height(), FORMAT).unwrap();
    let mut pixels = vec![0; layout.byte_len().unwrap()];
    decode_into(&clip.frame(index).unwrap(), &mut pixels, &layout).unwrap();
    (pixels, layout)
}

fn compared(clip: &Clip, index: usize) -> Comparison {
    let (pixels, layout) = decoded(clip, index);
    compare(&clip.frame(index).unwrap(), &pixels, &layout).unwrap()
}

#[test]
fn the_shipped_clip_agrees_in_every_pixel() {
    let clip = shipped();
    for index in (0..clip.len()).step_by(8) {
        let result = compared(&clip, index);
        assert_eq!(result.pixels, 640 * 360);
        assert_eq!(result.mismatched_pixels, 0, "{index}: {result:?}");
        assert!(result.max_difference <= 3, "{index}: {result:?}");
        assert!(result.mean_difference < 0.02, "{index}: {result:?}");
    }
}

/// The photo and noise, in every subsampling that is accepted. 360 rows are
/// not a whole number of chroma blocks.
#[test]
fn subsampled_pictures_agree_within_their_tolerance() {
    let clip = shipped();
    let photo = reference::decode(&clip.frame(12).unwrap()).unwrap();
    let mut state = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(photo.len())
    .collect();
    for rgb in [&photo, &noise] {
        for sampling in [
            SamplingFactor::F_2_1,
            SamplingFactor::F_1_2,
            SamplingFactor::F_2_2,
        ] {
            let clip = Clip::parse(jpeg_of(rgb, (640, 360), sampling, 80)).unwrap();
            let result = compared(&clip, 0);
            assert_eq!(result.mismatched_pixels, 0, "{sampling:?}: {result:?}");
        }
    }
}

#[test]
fn one_wrong_pixel_is_found() {
    let clip = shipped();
    let frame = clip.frame(5).unwrap();
    let (good, layout) = decoded(&clip, 5);
    for (x, y) in [(0, 0), (639, 0), (320, 180), (639, 359)] {
        for channel in 0..4 {
            let mut pixels = good.clone();
            let at = (y * 640 + x) * 4 + channel;
            pixels[at] = pixels[at].wrapping_add(128);
            let result = compare(&frame, &pixels, &layout).unwrap();
            assert_eq!(result.mismatched_pixels, 1);
            assert_eq!(result.first_mismatch, Some((x as u32, y as u32)));
        }
    }
}

#[test]
fn the_next_frame_or_other_colours_do_not_pass() {
    let clip = shipped();
    for index in [0, 23, 24, 47, 48, 71] {
        let (pixels, layout) = decoded(&clip, index);
        let next = clip.frame((index + 1) % clip.len()).unwrap();
        let result = compare(&next, &pixels, &layout).unwrap();
        assert!(result.mismatched_pixels > 30_000, "{index}: {result:?}");
    }
    let (pixels, layout) = decoded(&clip, 0);
    let swapped = Layout {
        format: PixelFormat::R8g8b8x8,
        ..layout
    };
    let result = compare(&clip.frame(0).unwrap(), &pixels, &swapped).unwrap();
    assert!(result.mismatched_pixels > 200_000, "{result:?}");
}

#[test]
fn rows_may_be_padded_in_what_is_compared() {
    let clip = shipped();
    let (packed, layout) = decoded(&clip, 0);
    let mut padded: Vec<u8> = packed
        .chunks(2560)
        .flat_map(|row| [row, &[0xaa; 256]].concat())
        .collect();
    padded.truncate(padded.len() - 256);
    let padded_layout = Layout {
        stride: 2816,
        ..layout
    };
    let frame = clip.frame(0).unwrap();
    let result = compare(&frame, &padded, &padded_layout).unwrap();
    assert_eq!(result, compare(&frame, &packed, &layout).unwrap());
    padded.pop();
    assert!(compare(&frame, &padded, &padded_layout).is_err());
}
