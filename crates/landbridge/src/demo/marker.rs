//! The marker that the guest draws with its own CPU: a bright square that
//! wanders over the picture, so that a picture shows who touched it.

/// Bytes a pixel: the demo's buffers are B8G8R8X8.
pub(super) const PIXEL: usize = 4;

/// The marker's pixels, as they lie in memory: a green that no photograph has.
const COLOUR: [u8; PIXEL] = [0x20, 0xff, 0x20, 0xff];

/// A square in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    /// Its left edge in pixels.
    pub(super) x: usize,
    /// Its upper edge in pixels.
    pub(super) y: usize,
    /// Its side in pixels.
    pub(super) side: usize,
}

impl Marker {
    /// Where the marker stands in frame number `frame` of a picture of this
    /// size (at least one pixel each way).
    pub(super) fn of(frame: usize, width: usize, height: usize) -> Self {
        let side = (width.min(height) / 8).clamp(1, 48);
        Self {
            x: (frame * 5) % (width - side + 1),
            y: (frame * 3) % (height - side + 1),
            side,
        }
    }

    /// The marker's rows: where each starts in a buffer with this stride, and
    /// its bytes.
    pub(super) fn rows(self, stride: usize) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let row = COLOUR.repeat(self.side);
        (self.y..self.y + self.side).map(move |y| (y * stride + self.x * PIXEL, row.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_stays_in_the_picture_and_moves() {
        for (width, height) in [(1, 1), (7, 3), (640, 360)] {
            for frame in 0..1000 {
                let marker = Marker::of(frame, width, height);
                assert!(marker.x + marker.side <= width);
                assert!(marker.y + marker.side <= height);
            }
        }
        assert_ne!(Marker::of(0, 640, 360), Marker::of(1, 640, 360));
    }
}
