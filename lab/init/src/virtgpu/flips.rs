//! A program that shows one picture after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::card::Card;
use super::picture::Picture;

/// How long a picture is shown.
const FRAME: Duration = Duration::from_millis(5);

/// How long flips may take to go on, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Page flips between two pictures on a card's first screen, until they end.
#[derive(Debug)]
pub struct Flips {
    /// The two pictures.
    pub pictures: [Picture; 2],
    shown: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Picture>>,
}

impl Flips {
    /// Begins.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(card: Arc<Card>) -> Result<Self> {
        let screen = card.screen(0)?;
        let frames = [
            card.dumb_picture(&screen, 7)?,
            card.dumb_picture(&screen, 8)?,
        ];
        card.set(&screen, frames[0].0)?;
        let (shown, stop) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let thread = std::thread::spawn({
            let (shown, stop) = (Arc::clone(&shown), Arc::clone(&stop));
            move || {
                for number in 1.. {
                    let (framebuffer, picture) = frames[number as usize % 2];
                    card.flip(&screen, framebuffer, number)?;
                    shown.store(number, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        return Ok(picture);
                    }
                    std::thread::sleep(FRAME);
                }
                unreachable!("flips have no last number")
            }
        });
        Ok(Self {
            pictures: frames.map(|(_, picture)| picture),
            shown,
            stop,
            thread,
        })
    }

    /// Whether flips go on: waits for a few.
    #[must_use]
    pub fn go_on(&self) -> bool {
        let before = self.shown.load(Ordering::Relaxed);
        let start = Instant::now();
        while self.shown.load(Ordering::Relaxed) < before + 3 {
            if start.elapsed() > PATIENCE || self.thread.is_finished() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Ends, and says which picture stays on the screen.
    ///
    /// # Errors
    /// Why it ended before.
    pub fn end(self) -> Result<Picture> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("flipping"))?
    }
}
