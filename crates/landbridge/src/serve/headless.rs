//! A display for nobody: pictures are looked at when somebody asks for a
//! screenshot.

use landbridge_device_gpu::{Cursor, Display, Image};
use landbridge_protocol_gpu::Rect;

/// Shows nothing and keeps nothing.
#[derive(Debug)]
pub(super) struct Headless;

impl Display for Headless {
    fn flushed(&self, scanout: u32, image: &Image, _damage: Rect) {
        tracing::trace!(scanout, layout = ?image.layout(), "flushed");
    }

    fn disabled(&self, scanout: u32) {
        tracing::debug!(scanout, "disabled");
    }

    fn cursor(&self, _scanout: u32, _cursor: &Cursor) {}
}
