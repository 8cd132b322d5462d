//! Where the camera looks: a path that zooms in, pans, and zooms out again to
//! where it began, so that the clip can be played round and round.

/// Frames in the clip.
pub(super) const FRAMES: usize = 72;

/// One in the fixed-point numbers used here: 16 bits behind the point.
pub(super) const ONE: i64 = 1 << 16;

/// What the camera shows, in pixels of the photo, as fixed-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) width: i64,
    pub(super) height: i64,
}

/// A stop on the way: the view's centre and width, in thousandths of the
/// photo's width and height.
struct Stop {
    x: i64,
    y: i64,
    width: i64,
}

/// The whole picture, the cup, the spoon.
const STOPS: [Stop; 3] = [
    Stop {
        x: 500,
        y: 500,
        width: 1000,
    },
    Stop {
        x: 480,
        y: 300,
        width: 520,
    },
    Stop {
        x: 620,
        y: 640,
        width: 430,
    },
];

/// The view of frame `index` on a photo of this size. It is as wide as the
/// stops say, 16:9, and within the photo.
pub(super) fn view(index: usize, photo_width: u32, photo_height: u32) -> View {
    let leg = FRAMES / STOPS.len();
    let from = &STOPS[index / leg % STOPS.len()];
    let to = &STOPS[(index / leg + 1) % STOPS.len()];
    let way = ease((index % leg) as i64 * ONE / leg as i64);
    let between =
        |from: i64, to: i64, scale: u32| (from * ONE + (to - from) * way) * i64::from(scale) / 1000;
    let width = between(from.width, to.width, photo_width);
    let height = width * 9 / 16;
    let within = |centre: i64, extent: i64, limit: u32| {
        (centre - extent / 2).clamp(0, i64::from(limit) * ONE - extent)
    };
    View {
        left: within(between(from.x, to.x, photo_width), width, photo_width),
        top: within(between(from.y, to.y, photo_height), height, photo_height),
        width,
        height,
    }
}

/// Starts and stops gently: 3t² - 2t³.
fn ease(t: i64) -> i64 {
    t * t / ONE * (3 * ONE - 2 * t) / ONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_stays_within_the_photo_and_keeps_moving() {
        let mut last = None;
        for index in 0..FRAMES {
            let view = view(index, 600, 400);
            assert!(
                view.left >= 0 && view.left + view.width <= 600 * ONE,
                "{index}"
            );
            assert!(
                view.top >= 0 && view.top + view.height <= 400 * ONE,
                "{index}"
            );
            assert_ne!(Some(view), last, "frame {index} repeats the last one");
            last = Some(view);
        }
        assert_eq!(view(0, 600, 400).width, 600 * ONE);
    }
}
