//! The demo's display: hands on what a scanout shows.

use std::sync::mpsc::{self, Receiver, Sender};

use landbridge_device_gpu::{Cursor, Display, Image};
use landbridge_protocol_gpu::Rect;

/// A display that hands on every picture that is flushed.
#[derive(Debug)]
pub(super) struct Screen(Sender<Image>);

impl Screen {
    /// A display and where its pictures arrive.
    pub(super) fn new() -> (Self, Receiver<Image>) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), receiver)
    }
}

impl Display for Screen {
    fn flushed(&self, _scanout: u32, image: &Image, _damage: Rect) {
        // Nobody looks any more when the show is over.
        let _ = self.0.send(image.clone());
    }

    fn disabled(&self, _scanout: u32) {}

    fn cursor(&self, _scanout: u32, _cursor: &Cursor) {}
}
