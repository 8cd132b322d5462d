//! Decoding into exchange buffers that are named by UUID.
//!
//! A client queues "frame 12 into the buffer with this UUID". The queue looks
//! the buffer up, attaches once, puts a write fence on it at once, and decodes
//! on a thread of its own. The buffer is the decoder's alone while it writes.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use landbridge_exchange::importers::decoder::{DecoderFrame, DecoderImport};
use landbridge_exchange::{Exchange, Fence, Tenant};
use uuid::Uuid;

use crate::clip::{Clip, Frame};
use crate::decode::decode_into;
use crate::error::Error;
use crate::layout::Layout;

/// The name under which the decoder attaches.
const NAME: &str = "decoder";

/// How long the decoder waits for other users of a buffer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns a frame's bytes into pixels: decodes into a buffer laid out as told
/// and returns how many bytes of pixels were copied on the way; 0 for a codec
/// that writes its output where it belongs.
pub trait Codec:
    FnMut(&Frame<'_>, &mut [u8], &Layout) -> Result<u64, Error> + Send + 'static
{
}

impl<F> Codec for F where
    F: FnMut(&Frame<'_>, &mut [u8], &Layout) -> Result<u64, Error> + Send + 'static
{
}

/// The codec for Motion-JPEG: decodes straight into the buffer.
pub fn motion_jpeg(frame: &Frame<'_>, target: &mut [u8], layout: &Layout) -> Result<u64, Error> {
    decode_into(frame, target, layout).map(|()| 0)
}

/// A frame that was queued.
#[derive(Debug)]
pub struct Queued {
    fence: Fence,
    result: Receiver<Result<u64, Error>>,
}

impl Queued {
    /// The write fence that the frame holds on its buffer.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Waits until the frame is decoded, at most for `limit`. Returns how many
    /// bytes of pixels were written.
    pub fn wait(&self, limit: Duration) -> Result<u64, Error> {
        match self.result.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Error::Late {
                work: self.fence.label().to_owned(),
                limit,
            }),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Stopped),
        }
    }
}

struct Job {
    frame: usize,
    target: DecoderFrame,
    result: Sender<Result<u64, Error>>,
}

/// Decodes frames of one clip into buffers named by UUID, in the order in which
/// they are queued.
#[derive(Debug)]
pub struct DecodeQueue {
    exchange: Exchange,
    tenant: Tenant,
    clip: Arc<Clip>,
    imports: Mutex<HashMap<Uuid, Arc<DecoderImport>>>,
    jobs: Option<Sender<Job>>,
    worker: Option<thread::JoinHandle<()>>,
}

impl DecodeQueue {
    /// Starts the decoder. `tenant` pays for its attachments; buffers must hold
    /// pictures laid out as `layout` says.
    pub fn start(
        exchange: Exchange,
        tenant: Tenant,
        clip: Arc<Clip>,
        layout: Layout,
        codec: impl Codec,
    ) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel();
        let worker = {
            let clip = Arc::clone(&clip);
            thread::Builder::new()
                .name(NAME.to_owned())
                .spawn(move || work(&receiver, &clip, layout, codec))
                .map_err(Error::Thread)?
        };
        Ok(Self {
            exchange,
            tenant,
            clip,
            imports: Mutex::default(),
            jobs: Some(sender),
            worker: Some(worker),
        })
    }

    /// Queues frame number `frame`, modulo the clip's length, into the buffer
    /// with this UUID. From now on, whoever uses the buffer waits for it.
    pub fn queue(&self, uuid: Uuid, frame: usize) -> Result<Queued, Error> {
        let frame = frame % self.clip.len();
        let target = self.import(uuid)?.queue(format!("decode frame {frame}"));
        let fence = target.fence().clone();
        let (sender, result) = mpsc::channel();
        let job = Job {
            frame,
            target,
            result: sender,
        };
        let jobs = self.jobs.as_ref().ok_or(Error::Stopped)?;
        jobs.send(job).map_err(|_| Error::Stopped)?;
        Ok(Queued { fence, result })
    }

    /// Lets go of the buffer with this UUID, if the decoder holds it.
    pub fn release(&self, uuid: Uuid) {
        self.imports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&uuid);
    }

    fn import(&self, uuid: Uuid) -> Result<Arc<DecoderImport>, Error> {
        let mut imports = self.imports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(import) = imports.get(&uuid) {
            return Ok(Arc::clone(import));
        }
        let buffer = self.exchange.lookup(uuid).ok_or(Error::NoBuffer(uuid))?;
        let import = Arc::new(DecoderImport::attach(&buffer, NAME, &self.tenant)?);
        imports.insert(uuid, Arc::clone(&import));
        Ok(import)
    }
}

impl Drop for DecodeQueue {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has failed its frames' fences already.
            let _ = worker.join();
        }
    }
}

fn work(jobs: &Receiver<Job>, clip: &Clip, layout: Layout, mut codec: impl Codec) {
    for job in jobs {
        let result = decode(job.frame, job.target, clip, layout, &mut codec);
        // Who queued the frame may have gone: the fence has told the others.
        let _ = job.result.send(result);
    }
}

fn decode(
    frame: usize,
    target: DecoderFrame,
    clip: &Clip,
    layout: Layout,
    codec: &mut impl Codec,
) -> Result<u64, Error> {
    let frame = clip.frame(frame).ok_or(Error::Stopped)?;
    let buffer = target.buffer().clone();
    let mut copied = 0;
    target.write(PATIENCE, |memory| -> Result<(), Error> {
        copied = codec(&frame, memory, &layout)?;
        Ok(())
    })?;
    buffer.count_copied(copied);
    Ok(layout.byte_len()? as u64)
}
