//! What each scanout shows.

use landbridge_protocol_gpu::Rect;

use crate::display::Cursor;
use crate::error::Error;
use crate::image::Image;

/// A picture on a scanout.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The resource, by id for people and by serial for us.
    pub(crate) resource: u32,
    pub(crate) serial: u64,
    pub(crate) image: Image,
    /// The shown part of the resource's whole picture.
    pub(crate) rect: Rect,
}

impl Shown {
    /// The part of the shown picture that a flushed rectangle of the resource
    /// touches.
    pub(crate) fn damage(&self, flushed: Rect) -> Option<Rect> {
        let overlap = |start: u32, len: u32, from: u32, size: u32| {
            let end = u64::from(start) + u64::from(len);
            let low = start.max(from);
            let high = end.min(u64::from(from) + u64::from(size));
            let len = high.checked_sub(low.into()).filter(|len| *len > 0)?;
            Some((low - from, u32::try_from(len).ok()?))
        };
        let shown = &self.rect;
        let (x, width) = overlap(flushed.x, flushed.width, shown.x, shown.width)?;
        let (y, height) = overlap(flushed.y, flushed.height, shown.y, shown.height)?;
        Some(Rect {
            x,
            y,
            width,
            height,
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Scanout {
    pub(crate) shown: Option<Shown>,
    pub(crate) cursor: Cursor,
    /// The resource with the cursor's shape.
    pub(crate) cursor_serial: Option<u64>,
}

/// The device's scanouts.
#[derive(Debug)]
pub(crate) struct Scanouts {
    scanouts: Vec<Scanout>,
}

/// What a resource showed when it went away: pictures and shapes, to be
/// dropped and told to the display outside the state's lock.
#[derive(Debug, Default)]
pub(crate) struct Darkened {
    pub(crate) pictures: Vec<(u32, Shown)>,
    pub(crate) cursors: Vec<(u32, Cursor)>,
}

impl Darkened {
    /// The darkened scanouts, one bit each.
    pub(crate) fn bits(&self) -> u16 {
        self.pictures
            .iter()
            .fold(0, |bits, (id, _)| bits | bit(*id))
    }
}

/// A scanout's bit: the device has at most 16.
pub(crate) fn bit(id: u32) -> u16 {
    1u16.checked_shl(id).unwrap_or(0)
}

impl Scanouts {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            scanouts: (0..count).map(|_| Scanout::default()).collect(),
        }
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Result<&mut Scanout, Error> {
        let count = self.scanouts.len();
        self.scanouts
            .get_mut(id as usize)
            .ok_or(Error::NoScanout { id, count })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Scanout)> {
        (0..).zip(&self.scanouts)
    }

    /// Those that show a resource.
    pub(crate) fn showing(&self, serial: u64) -> impl Iterator<Item = (u32, &Shown)> {
        self.iter()
            .filter_map(|(id, scanout)| scanout.shown.as_ref().map(|shown| (id, shown)))
            .filter(move |(_, shown)| shown.serial == serial)
    }

    /// Takes a resource off all scanouts and cursors.
    pub(crate) fn darken(&mut self, serial: u64) -> Darkened {
        let mut darkened = Darkened::default();
        for (id, scanout) in (0..).zip(&mut self.scanouts) {
            let shows = |shown: &mut Shown| shown.serial == serial;
            if let Some(shown) = scanout.shown.take_if(shows) {
                darkened.pictures.push((id, shown));
            }
            if scanout
                .cursor_serial
                .take_if(|shape| *shape == serial)
                .is_some()
            {
                let hidden = Cursor {
                    shape: None,
                    ..scanout.cursor.clone()
                };
                let cursor = std::mem::replace(&mut scanout.cursor, hidden);
                darkened.cursors.push((id, cursor));
            }
        }
        darkened
    }
}
