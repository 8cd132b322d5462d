//! Pictures on a screen, out of host blobs and dumb buffers.

use anyhow::Result;

use super::blob::{Blob, Made};
use super::card::Card;
use super::kms::Screen;
use super::picture::Picture;
use crate::sys::memory::{Map, PAGE};

/// A host blob that a screen shows.
#[derive(Debug)]
pub struct Shown {
    /// What was drawn.
    pub picture: Picture,
    /// The blob.
    pub made: Made,
    /// Its bytes.
    pub memory: Map,
    /// The framebuffer over it.
    pub framebuffer: u32,
}

impl Card {
    /// Makes a host blob, draws picture `number` into it and shows it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn show(&self, screen: &Screen, number: u32) -> Result<Shown> {
        let (width, height) = screen.mode.size();
        let picture = Picture::new(width, height, number);
        let size = picture.bytes().next_multiple_of(PAGE as u64);
        let made = self.blob(Blob::of_the_host(size))?;
        let memory = self.map(made)?;
        picture.draw(&memory);
        let framebuffer = self.framebuffer(made.handle, picture)?;
        self.set(screen, framebuffer)?;
        Ok(Shown {
            picture,
            made,
            memory,
            framebuffer,
        })
    }

    /// Draws the picture `number` of the screen's size into a dumb buffer, and makes
    /// a framebuffer of it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dumb_picture(&self, screen: &Screen, number: u32) -> Result<(u32, Picture)> {
        let (width, height) = screen.mode.size();
        let (made, pitch, memory) = self.dumb(width, height)?;
        let picture = Picture {
            pitch,
            ..Picture::new(width, height, number)
        };
        picture.draw(&memory);
        Ok((self.framebuffer(made.handle, picture)?, picture))
    }
}
