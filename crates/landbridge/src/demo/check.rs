//! What must hold of every frame.

use landbridge_device_gpu::Image;
use landbridge_device_media::{Frame, Layout, compare};
use landbridge_dmabuf::Identity;

use super::marker::{Marker, PIXEL};

/// Pixels of a frame that the guest saw and that differ from what an
/// independent decoder makes of it.
pub(super) fn seen_by_guest(
    frame: &Frame<'_>,
    seen: &[u8],
    layout: &Layout,
) -> anyhow::Result<u64> {
    Ok(compare(frame, seen, layout)?.mismatched_pixels)
}

/// Pixels on the scanout that differ from what the guest saw and drew.
pub(super) fn shown(shown: &[u8], seen: &[u8], marker: Marker, layout: &Layout) -> u64 {
    let mut expected = seen.to_vec();
    for (offset, row) in marker.rows(layout.stride as usize) {
        expected[offset..offset + row.len()].copy_from_slice(&row);
    }
    let wrong = shown
        .chunks(PIXEL)
        .zip(expected.chunks(PIXEL))
        .filter(|(shown, expected)| shown != expected)
        .count();
    let missing = expected.len().abs_diff(shown.len()) / PIXEL;
    (wrong + missing) as u64
}

/// The scanout's pixels as they lie in the buffer, rows packed.
pub(super) fn read_rows(image: &Image, limit: std::time::Duration) -> anyhow::Result<Vec<u8>> {
    let layout = image.layout();
    let access = image.read(limit)?;
    let mut pixels = vec![0; layout.row_bytes() * layout.height() as usize];
    for (row, y) in pixels.chunks_mut(layout.row_bytes()).zip(0..) {
        access.row(y, row)?;
    }
    access.end()?;
    Ok(pixels)
}

/// How many users saw another file than the decoder. A user who saw none has
/// seen another one.
pub(super) fn strangers(decoder: Option<Identity>, others: &[Option<Identity>]) -> u64 {
    others
        .iter()
        .filter(|other| other.is_none() || **other != decoder)
        .count() as u64
}

#[cfg(test)]
mod tests {
    use landbridge_device_media::PixelFormat;
    use landbridge_dmabuf::Memfd;
    use landbridge_dmabuf::memfd::Options;

    use super::*;

    #[test]
    fn one_wrong_byte_on_the_scanout_is_one_wrong_pixel() {
        let layout = Layout::packed(16, 16, PixelFormat::B8g8r8x8).unwrap();
        let seen: Vec<u8> = (0..16 * 16 * 4).map(|byte| byte as u8).collect();
        let marker = Marker::of(3, 16, 16);
        let mut right = seen.clone();
        for (offset, row) in marker.rows(64) {
            right[offset..offset + row.len()].copy_from_slice(&row);
        }
        assert_eq!(shown(&right, &seen, marker, &layout), 0);
        let mut wrong = right.clone();
        wrong[17] ^= 1;
        assert_eq!(shown(&wrong, &seen, marker, &layout), 1);
        let side = marker.side as u64;
        assert_eq!(shown(&seen, &seen, marker, &layout), side * side);
        assert_eq!(
            shown(&right[..right.len() - 64], &seen, marker, &layout),
            16
        );
    }

    #[test]
    fn a_user_of_another_file_is_a_stranger() {
        let identity = |name| {
            let memfd = Memfd::create(name, 4096, Options::default()).unwrap();
            // Both live until the identities are compared.
            (memfd.identity().ok(), memfd)
        };
        let (one, _first) = identity("one");
        let (two, _second) = identity("two");
        assert_eq!(strangers(one, &[one, one]), 0);
        assert_eq!(strangers(one, &[one, two]), 1);
        assert_eq!(strangers(one, &[None]), 1);
        assert_eq!(strangers(None, &[None]), 1);
    }
}
