//! Decoding keeps no frame besides the caller's. In a file of its own, since
//! the allocator that counts is the whole program's.

use landbridge_device_media::{Clip, Layout, PixelFormat, decode_into};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn decoding_allocates_rows_not_frames() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../assets/demo.avi");
    let clip = Clip::open(path).unwrap();
    let layout = Layout::packed(clip.width(), clip.height(), PixelFormat::B8g8r8x8).unwrap();
    let frame_bytes = layout.byte_len().unwrap();
    let mut pixels = vec![0; frame_bytes];
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    for frame in clip.frames().step_by(6) {
        decode_into(&frame, &mut pixels, &layout).unwrap();
    }
    let peak = ALLOCATOR.peak_usage() - before;
    // Asked before anything is printed: the harness keeps what a test prints.
    let kept = ALLOCATOR.current_usage() - before;
    println!("{peak} bytes at most, for frames of {frame_bytes}");
    assert!(peak < frame_bytes / 6, "{peak} of {frame_bytes} bytes");
    assert_eq!(kept, 0, "nothing is kept");
}
