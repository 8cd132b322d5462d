//! A producer's view: draw into a dma-buf and hand it on with a fence.
//!
//! ```sh
//! cargo run -p landbridge-dmabuf --example producer
//! ```

use std::time::Duration;

use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::{Memfd, Options};
use landbridge_dmabuf::{Access, Bracketed, Direction, DmaBuf, Error, SyncFile, Udmabuf};

const WIDTH: usize = 64;
const HEIGHT: usize = 64;
/// Bytes from one row to the next.
pub(crate) const PITCH: usize = WIDTH * 4;
/// Bytes of a frame.
pub(crate) const SIZE: usize = PITCH * HEIGHT;
/// A consumer that keeps a frame longer than this is stuck.
const PATIENCE: Duration = Duration::from_millis(500);

/// Memory that devices can share: from a heap, or from a memfd of our own.
pub(crate) fn allocate() -> Result<DmaBuf, Error> {
    match Heap::open("system") {
        Ok(heap) => heap.allocate(SIZE as u64),
        Err(_) => {
            let memfd = Memfd::create("frame", SIZE as u64, Options::default())?;
            Udmabuf::open()?.wrap(memfd)
        }
    }
}

/// A buffer that is drawn into, frame after frame.
pub(crate) struct Producer {
    memory: Bracketed,
}

impl Producer {
    pub(crate) fn new(buffer: DmaBuf) -> Result<Self, Error> {
        let memory = Bracketed::of(buffer, Access::ReadWrite)?;
        Ok(Self { memory })
    }

    /// Draws frame `number` once the consumer of the last has let go: its fence
    /// is on the buffer, and the bracket waits for it. What comes back signals
    /// when the frame may be read.
    pub(crate) fn draw(&mut self, number: u8) -> Result<SyncFile, Error> {
        let all = 0..self.memory.len();
        let bracket = self.memory.access(Direction::Write, all, PATIENCE)?;
        for (y, row) in bracket.view().rows(0, PITCH, PITCH, HEIGHT)?.enumerate() {
            row.fill(0, PITCH, number.wrapping_add(y as u8))?;
        }
        // The writes are visible to devices only if this works.
        bracket.end()?;
        let buffer = self.memory.buffer().ok_or(Error::NotADmaBuf)?;
        buffer.export_sync_file(FenceUse::Read)
    }
}

fn main() -> Result<(), Error> {
    let buffer = match allocate() {
        Err(e @ Error::NoDevice { .. }) => {
            println!("skipped: {e}");
            return Ok(());
        }
        allocated => allocated?,
    };
    let mut producer = Producer::new(buffer)?;
    for number in 0..3 {
        let ready = producer.draw(number)?;
        println!("frame {number}: {}", ready.status()?);
    }
    println!("brackets: {}", producer.memory.counters());
    Ok(())
}
