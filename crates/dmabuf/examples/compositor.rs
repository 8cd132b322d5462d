//! A compositor's view: take a client's dma-buf in, read it, give it back with a
//! fence. `cargo run -p landbridge-dmabuf --example compositor`

use std::time::Duration;

use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::gem::{Device, Node};
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::{Access, Bracketed, DmaBuf, Error, SyncFile, Wanted};

/// A client that isn't done by then misses this frame.
const FRAME: Duration = Duration::from_millis(100);

/// A client's buffer, and whether the GPU has it too.
pub(crate) struct Surface {
    memory: Bracketed,
    pub(crate) on_gpu: bool,
}

impl Surface {
    /// Imports `buffer` into the GPU, if there is one that takes it, and maps it:
    /// through its exporter in either case. Nobody here knows how it is cached,
    /// so any caching will do.
    pub(crate) fn import(buffer: DmaBuf, gpu: Option<&Device>) -> Result<Self, Error> {
        let object = gpu.and_then(|gpu| gpu.import(&buffer).ok());
        let memory = match &object {
            Some(object) => object.map(Wanted::Any, Access::ReadOnly, &None)?,
            None => Bracketed::forward(buffer, Wanted::Any, Access::ReadOnly, &None)?,
        };
        // A renderer would keep the object; the mapping needs it no longer.
        let on_gpu = object.is_some();
        Ok(Self { memory, on_gpu })
    }

    /// Reads a frame after the client's fence `ready`, and adds up its bytes.
    /// What comes back signals when the client may draw again.
    pub(crate) fn show(&mut self, ready: &SyncFile) -> Result<(u64, SyncFile), Error> {
        let buffer = self.memory.buffer().ok_or(Error::NotADmaBuf)?;
        // An explicit fence becomes one that everybody's bracket waits for.
        buffer.import_sync_file(FenceUse::Write, ready)?;
        let bracket = self.memory.read(FRAME)?;
        let mut sum = 0;
        for at in (0..self.memory.len()).step_by(8) {
            let word: u64 = bracket.view().read_at(at)?;
            sum += word
                .to_le_bytes()
                .iter()
                .map(|byte| u64::from(*byte))
                .sum::<u64>();
        }
        bracket.end()?;
        Ok((sum, buffer.export_sync_file(FenceUse::Write)?))
    }
}

fn main() -> Result<(), Error> {
    let client = match Heap::open("system") {
        Err(e @ Error::NoDevice { .. }) => {
            println!("skipped: {e}");
            return Ok(());
        }
        heap => heap?.allocate(64 << 10)?,
    };
    let ready = client.export_sync_file(FenceUse::Read)?;
    let node = Node::list()?.into_iter().find(|node| !node.primary);
    let gpu = node.and_then(|node| Device::open(node.path).ok());
    let mut surface = Surface::import(client, gpu.as_ref())?;
    let (sum, release) = surface.show(&ready)?;
    let (gpu, may_draw) = (surface.on_gpu, release.status()?);
    println!("bytes add up to {sum}; on the GPU: {gpu}; the client may draw: {may_draw}");
    Ok(())
}
