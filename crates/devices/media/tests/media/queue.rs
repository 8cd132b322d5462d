//! Decoding into buffers that are named by UUID.

use std::sync::Arc;
use std::time::Duration;

use crate::made::jpeg;
use landbridge_device_media::{
    Clip, Codec, DecodeQueue, Error, Frame, Layout, PixelFormat, compare, motion_jpeg,
};
use landbridge_exchange::exporters::HostMemory;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(30);

struct Setup {
    exchange: Exchange,
    tenant: Tenant,
    clip: Arc<Clip>,
    layout: Layout,
}

impl Setup {
    fn new(frames: Vec<Vec<u8>>) -> Self {
        let clip = Clip::parse(frames.concat()).unwrap();
        let layout = Layout::packed(clip.width(), clip.height(), PixelFormat::B8g8r8x8).unwrap();
        Self {
            exchange: Exchange::new(),
            tenant: Tenant::new("test", Limits::NONE),
            clip: Arc::new(clip),
            layout,
        }
    }

    fn buffer(&self) -> (Buffer, Uuid) {
        let memory = HostMemory::allocate("frame", 4096, Kind::Memfd).unwrap();
        let buffer = self.exchange.publish(memory, &self.tenant).unwrap();
        let uuid = buffer.assign_uuid().unwrap();
        (buffer, uuid)
    }

    fn queue(&self, codec: impl Codec) -> DecodeQueue {
        DecodeQueue::start(
            self.exchange.clone(),
            self.tenant.clone(),
            Arc::clone(&self.clip),
            self.layout,
            codec,
        )
        .unwrap()
    }

    fn pixels(&self, buffer: &Buffer) -> Vec<u8> {
        let cpu = CpuImport::attach(buffer, "reader", Direction::Read, &self.tenant).unwrap();
        let access = cpu.access(Direction::Read, LIMIT).unwrap();
        let mut pixels = vec![0; self.layout.byte_len().unwrap()];
        access.view().copy_to(0, &mut pixels).unwrap();
        access.end().unwrap();
        pixels
    }
}

fn three_frames() -> Vec<Vec<u8>> {
    [1, 2, 3].map(|seed| jpeg(24, 16, seed)).to_vec()
}

#[test]
fn frames_arrive_in_the_buffers_that_their_uuids_name() {
    let setup = Setup::new(three_frames());
    let queue = setup.queue(motion_jpeg);
    let buffers = [setup.buffer(), setup.buffer()];
    for round in 0..4 {
        let (buffer, uuid) = &buffers[round % 2];
        let queued = queue.queue(*uuid, round).unwrap();
        assert_eq!(queued.wait(LIMIT).unwrap(), 24 * 16 * 4);
        assert_eq!(queued.fence().outcome(), Some(Outcome::Done));
        let frame = setup.clip.frame(round % 3).unwrap();
        let result = compare(&frame, &setup.pixels(buffer), &setup.layout).unwrap();
        assert_eq!(result.mismatched_pixels, 0);
    }
    assert_eq!(setup.exchange.copied_bytes(), 0);
    assert_eq!(
        buffers[0].0.importers().len(),
        1,
        "attached once, and stays"
    );
    queue.release(buffers[0].1);
    assert_eq!(buffers[0].0.importers().len(), 0);
}

#[test]
fn a_reader_waits_for_the_frame_that_was_queued() {
    let setup = Setup::new(three_frames());
    let (buffer, uuid) = setup.buffer();
    let queue = setup.queue(motion_jpeg);
    let queued = queue.queue(uuid, 1).unwrap();
    // The fence decides, not the thread that happens to be faster.
    assert_eq!(queued.fence().wait(LIMIT), Some(Outcome::Done));
    let pixels = setup.pixels(&buffer);
    let result = compare(&setup.clip.frame(1).unwrap(), &pixels, &setup.layout).unwrap();
    assert_eq!(result.mismatched_pixels, 0);
}

#[test]
fn an_unknown_uuid_is_said_to_be_unknown() {
    let setup = Setup::new(three_frames());
    let unknown = Uuid::from_u128(7);
    let error = setup.queue(motion_jpeg).queue(unknown, 0).unwrap_err();
    assert!(matches!(error, Error::NoBuffer(uuid) if uuid == unknown));
}

#[test]
fn a_buffer_that_somebody_maps_is_not_decoded_into() {
    let setup = Setup::new(three_frames());
    let (buffer, uuid) = setup.buffer();
    let queue = setup.queue(motion_jpeg);
    let cpu = CpuImport::attach(&buffer, "other", Direction::Read, &setup.tenant).unwrap();
    let queued = queue.queue(uuid, 0).unwrap();
    let error = queued.wait(LIMIT).unwrap_err();
    assert!(matches!(error, Error::Exchange(_)), "{error}");
    assert_eq!(queued.fence().outcome(), Some(Outcome::Failed));
    drop(cpu);
    queue.queue(uuid, 0).unwrap().wait(LIMIT).unwrap();
}

#[test]
fn a_frame_that_can_not_be_decoded_fails_its_fence_and_the_next_one_is_decoded() {
    let setup = Setup::new(three_frames());
    let (_buffer, uuid) = setup.buffer();
    let queue = setup.queue(not_the_first);
    let queued = queue.queue(uuid, 0).unwrap();
    let error = queued.wait(LIMIT).unwrap_err();
    assert!(
        matches!(error, Error::Incomplete { frame: 0, .. }),
        "{error}"
    );
    assert_eq!(queued.fence().outcome(), Some(Outcome::Failed));
    queue.queue(uuid, 1).unwrap().wait(LIMIT).unwrap();
}

fn not_the_first(frame: &Frame<'_>, target: &mut [u8], layout: &Layout) -> Result<u64, Error> {
    if frame.index == 0 {
        return Err(Error::Incomplete {
            frame: frame.index,
            offset: frame.offset,
        });
    }
    motion_jpeg(frame, target, layout)
}

#[test]
fn a_codec_that_copies_is_counted() {
    let copying = |frame: &Frame<'_>, target: &mut [u8], layout: &Layout| {
        let mut pixels = vec![0; layout.byte_len()?];
        motion_jpeg(frame, &mut pixels, layout)?;
        target[..pixels.len()].copy_from_slice(&pixels);
        Ok(pixels.len() as u64)
    };
    let setup = Setup::new(three_frames());
    let (buffer, uuid) = setup.buffer();
    setup
        .queue(copying)
        .queue(uuid, 0)
        .unwrap()
        .wait(LIMIT)
        .unwrap();
    assert_eq!(buffer.copied_bytes(), 24 * 16 * 4);
    assert_eq!(setup.exchange.copied_bytes(), 24 * 16 * 4);
}
