//! A display that writes down what it is told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landbridge_protocol_gpu::Rect;

use crate::display::{Cursor, Display};
use crate::image::Image;

/// What a [`FakeDisplay`] was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A picture changed.
    Flushed {
        /// Which scanout.
        scanout: u32,
        /// Width and height in pixels.
        size: (u32, u32),
        /// The changed part.
        damage: Rect,
        /// The pixels as red, green, blue, alpha; `None` if they could not be
        /// read in time.
        pixels: Option<Vec<u8>>,
    },
    /// A scanout shows nothing any more.
    Disabled(u32),
    /// A cursor changed.
    Cursor {
        /// Which scanout.
        scanout: u32,
        /// Whether it is shown.
        shown: bool,
        /// Where.
        position: (i32, i32),
        /// The hot spot.
        hot_spot: (u32, u32),
    },
}

/// A display that writes down what it is told, pixels included.
#[derive(Debug, Default)]
pub struct FakeDisplay {
    events: Mutex<Vec<Event>>,
}

/// How long a fake display waits for a picture's writers.
const PATIENCE: Duration = Duration::from_secs(1);

impl FakeDisplay {
    /// What it was told since the last call.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events())
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pixels(image: &Image) -> Option<Vec<u8>> {
    let access = image.read(PATIENCE).ok()?;
    let pixels = access.to_rgba().ok()?;
    access.end().ok()?;
    Some(pixels)
}

impl Display for FakeDisplay {
    fn flushed(&self, scanout: u32, image: &Image, damage: Rect) {
        let pixels = pixels(image);
        self.events().push(Event::Flushed {
            scanout,
            size: (image.layout().width(), image.layout().height()),
            damage,
            pixels,
        });
    }

    fn disabled(&self, scanout: u32) {
        self.events().push(Event::Disabled(scanout));
    }

    fn cursor(&self, scanout: u32, cursor: &Cursor) {
        self.events().push(Event::Cursor {
            scanout,
            shown: cursor.shape.is_some(),
            position: cursor.position,
            hot_spot: cursor.hot_spot,
        });
    }
}
