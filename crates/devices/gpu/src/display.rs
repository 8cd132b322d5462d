//! What shows a guest's pictures: a window, a file, a test.

mod fake;

use landbridge_protocol_gpu::Rect;

use crate::image::Image;

pub use fake::{Event, FakeDisplay};

/// What shows a guest's pictures.
///
/// # Implementers
/// Calls may come from any thread, for one scanout one at a time and in the
/// order of the guest's commands. They delay that guest: read the picture, or
/// hand it on, and return. A picture that is kept holds the guest's buffer.
///
/// # Callers
/// The device holds no lock while it calls.
pub trait Display: Send + Sync {
    /// The picture on `scanout` changed within `damage`, in pixels of `image`.
    /// The image may be another one than last time.
    fn flushed(&self, scanout: u32, image: &Image, damage: Rect);

    /// `scanout` shows nothing any more.
    fn disabled(&self, scanout: u32);

    /// The cursor on `scanout` changed.
    fn cursor(&self, scanout: u32, cursor: &Cursor);
}

/// A cursor on a scanout.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// Its shape, 64 by 64 pixels; `None` when it is hidden.
    pub shape: Option<Image>,
    /// Column and row of the shape that point.
    pub hot_spot: (u32, u32),
    /// Where the hot spot's shape begins: pixels from the scanout's left and
    /// top edges, negative past them.
    pub position: (i32, i32),
}
