//! A clip from a stranger: it is refused with an error, or each of its frames
//! decodes or is refused, within the buffer.

#![no_main]

use landbridge_device_media::{Clip, Layout, PixelFormat, decode_into};
use libfuzzer_sys::fuzz_target;

/// Larger pictures only make the fuzzer slow.
const MOST_PIXELS: u32 = 1 << 16;
const GUARD: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Ok(clip) = Clip::parse(bytes.to_vec()) else {
        return;
    };
    for frame in clip.frames() {
        assert_eq!(&bytes[frame.offset..][..frame.bytes.len()], frame.bytes);
    }
    if clip.width() * clip.height() > MOST_PIXELS {
        return;
    }
    for format in [PixelFormat::B8g8r8x8, PixelFormat::R8g8b8a8] {
        let layout = Layout::packed(clip.width(), clip.height(), format).expect("small");
        let len = layout.byte_len().expect("small");
        let mut pixels = vec![7; len + GUARD];
        for frame in clip.frames().take(4) {
            if decode_into(&frame, &mut pixels, &layout).is_ok() {
                assert_eq!(pixels[len - 1], 255);
            }
            assert_eq!(pixels[len..], [7; GUARD]);
        }
    }
});
