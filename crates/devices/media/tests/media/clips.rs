//! Good clips: what is found in them.

use crate::made::{avi, chunk, headers, jpeg, list, riff, video};
use landbridge_device_media::{Clip, Container, FrameRate};
use proptest::prelude::*;

fn shipped() -> Vec<u8> {
    std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../assets/demo.avi"
    ))
    .unwrap()
}

#[test]
fn the_shipped_clip_is_what_its_readme_says() {
    let bytes = shipped();
    assert!(bytes.len() <= 2 << 20);
    let clip = Clip::parse(bytes).unwrap();
    assert_eq!(clip.len(), 72);
    assert_eq!((clip.width(), clip.height()), (640, 360));
    assert_eq!(clip.container(), Container::Avi);
    let rate = FrameRate {
        frames: 24,
        seconds: 1,
    };
    assert_eq!(clip.frame_rate(), Some(rate));
}

#[test]
fn jpegs_one_after_another_are_frames_with_or_without_padding() {
    let (one, two) = (jpeg(24, 16, 1), jpeg(24, 16, 2));
    let clip = Clip::parse([one.as_slice(), &[0; 7], &two].concat()).unwrap();
    assert_eq!(clip.container(), Container::Jpegs);
    assert_eq!(clip.frame_rate(), None);
    let frames: Vec<_> = clip
        .frames()
        .map(|frame| (frame.offset, frame.bytes))
        .collect();
    assert_eq!(
        frames,
        [(0, one.as_slice()), (one.len() + 7, two.as_slice())]
    );
}

/// A thumbnail in an application segment holds an end marker of its own.
#[test]
fn an_image_within_an_image_does_not_end_it() {
    let (thumbnail, mut image) = (jpeg(8, 8, 1), jpeg(24, 16, 2));
    let length = u16::try_from(thumbnail.len() + 2).unwrap().to_be_bytes();
    let segment = [&[0xff, 0xe1], length.as_slice(), &thumbnail].concat();
    image.splice(2..2, segment);
    let clip = Clip::parse(image.clone()).unwrap();
    assert_eq!(clip.len(), 1);
    assert_eq!(clip.frame(0).unwrap().bytes, image);
    assert_eq!(clip.width(), 24);
}

#[test]
fn an_avi_gives_the_frames_of_its_video_stream_only() {
    let (one, two) = (jpeg(24, 16, 1), jpeg(24, 16, 2));
    let bytes = avi(&[
        chunk(b"00wb", b"sound"),
        video(&one),
        chunk(b"JUNK", &[0xff; 9]),
        chunk(b"02dc", b"another stream"),
        chunk(b"ix01", &[1; 24]),
        chunk(b"01db", &two),
    ]);
    let clip = Clip::parse(bytes.clone()).unwrap();
    assert_eq!(clip.container(), Container::Avi);
    let rate = FrameRate {
        frames: 30000,
        seconds: 1001,
    };
    assert_eq!(clip.frame_rate(), Some(rate));
    let frames: Vec<_> = clip.frames().map(|frame| frame.bytes).collect();
    assert_eq!(frames, [&one, &two]);
    for frame in clip.frames() {
        assert_eq!(&bytes[frame.offset..][..frame.bytes.len()], frame.bytes);
    }
}

#[test]
fn opendml_continues_in_another_riff_and_groups_in_records() {
    let frames = [1, 2, 3].map(|seed| jpeg(24, 16, seed));
    let [one, two, three] = frames.each_ref().map(|frame| video(frame));
    let movie = list(b"movi", &[list(b"rec ", &[one, two])]);
    let first = riff(
        b"AVI ",
        &[headers(b"MJPG"), movie, chunk(b"idx1", &[0; 16])],
    );
    let second = riff(b"AVIX", &[list(b"movi", &[three])]);
    let clip = Clip::parse([first, second].concat()).unwrap();
    let found: Vec<_> = clip.frames().map(|frame| frame.bytes).collect();
    assert_eq!(found, frames.each_ref());
}

#[test]
fn an_empty_avi_chunk_repeats_the_last_frame() {
    let one = jpeg(24, 16, 1);
    let clip = Clip::parse(avi(&[video(&one), video(&[]), video(&[])])).unwrap();
    assert_eq!(clip.len(), 3);
    let last = clip.frame(2).unwrap();
    assert_eq!((last.index, last.bytes), (2, one.as_slice()));
    assert_eq!(last.offset, clip.frame(0).unwrap().offset);
}

#[test]
fn padding_after_an_image_in_an_avi_chunk_is_not_part_of_the_frame() {
    let one = jpeg(24, 16, 1);
    let padded = [one.as_slice(), b"\0\0padding"].concat();
    let clip = Clip::parse(avi(&[video(&padded)])).unwrap();
    assert_eq!(clip.frame(0).unwrap().bytes, one);
}

#[test]
fn the_main_header_gives_the_rate_when_the_stream_does_not() {
    let main = list(b"hdrl", &[chunk(b"avih", &40_000u32.to_le_bytes())]);
    let movie = list(b"movi", &[chunk(b"00dc", &jpeg(24, 16, 1))]);
    let clip = Clip::parse(riff(b"AVI ", &[main, movie])).unwrap();
    let rate = FrameRate {
        frames: 1_000_000,
        seconds: 40_000,
    };
    assert_eq!(clip.frame_rate(), Some(rate));
}

fn check(bytes: Vec<u8>) {
    let len = bytes.len();
    if let Ok(clip) = Clip::parse(bytes) {
        for frame in clip.frames() {
            assert!(frame.bytes.starts_with(&[0xff, 0xd8]) && frame.bytes.ends_with(&[0xff, 0xd9]));
            assert!(frame.offset + frame.bytes.len() <= len);
            assert_eq!(u32::from(frame.header.width), clip.width());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check(bytes.clone());
        check([b"\xff\xd8".as_slice(), &bytes].concat());
        check([b"RIFF\xff\xff\xff\xffAVI ".as_slice(), &bytes].concat());
    }

    /// Damage that keeps the structure mostly whole reaches deeper.
    #[test]
    fn no_damage_makes_the_parser_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<proptest::sample::Index>(),
        kind in 0..2,
    ) {
        let frames = [jpeg(24, 16, 1), jpeg(24, 16, 2)];
        let mut bytes = match kind {
            0 => frames.concat(),
            _ => avi(&[list(b"rec ", &[video(&frames[0])]), video(&[]), video(&frames[1])]),
        };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 8);
        check(bytes);
    }
}
