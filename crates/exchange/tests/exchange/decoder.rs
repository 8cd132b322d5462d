//! A decoder has the memory to itself, or not at all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use landbridge_exchange::error::Fault;
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::importers::scanout::ScanoutImport;
use landbridge_exchange::importers::window::fake::Mood;
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Buffer, Error};

use crate::scene::{LONG, NOW, Scene, holders};

fn decoder(scene: &Scene, buffer: &Buffer) -> Arc<DecoderImport> {
    Arc::new(DecoderImport::attach(buffer, "decoder", &scene.tenant).unwrap())
}

/// Decodes a frame of one colour and says how that went, and the fence as well.
fn decode(decoder: &Arc<DecoderImport>, colour: u8) -> (Result<(), Error>, Option<Outcome>) {
    let frame = decoder.queue("frame");
    let fence = frame.fence().clone();
    let result = frame.write(NOW, |bytes| {
        bytes.fill(colour);
        Ok(())
    });
    (result, fence.outcome())
}

fn assert_refused(decoder: &Arc<DecoderImport>) {
    let (result, outcome) = decode(decoder, 9);
    let error = result.unwrap_err();
    assert!(
        error.to_string().starts_with("the memory is in use: "),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Peer);
    assert_eq!(outcome, Some(Outcome::Failed));
}

fn assert_works(decoder: &Arc<DecoderImport>) {
    let (result, outcome) = decode(decoder, 7);
    result.unwrap();
    assert_eq!(outcome, Some(Outcome::Done));
}

#[test]
fn a_frame_is_seen_by_who_maps_the_buffer_afterwards() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(2);
    assert_works(&decoder(&scene, &buffer));
    assert!(storage.holders().is_none());
    let scanout = ScanoutImport::attach(&buffer, 0, &scene.tenant).unwrap();
    let pixels = scanout.read(NOW).unwrap();
    assert_eq!(pixels.view().len(), 8192);
    assert_eq!(pixels.view().read_at::<u8>(8191).unwrap(), 7);
    assert_eq!(buffer.copied_bytes(), 0);
}

#[test]
fn refused_while_the_cpu_maps_it_and_works_afterwards() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap();
    assert_refused(&decoder);
    drop(cpu);
    assert_works(&decoder);
}

#[test]
fn refused_while_a_guest_maps_it_and_works_after_the_proof() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    assert_refused(&decoder);
    mapping.unmap().unwrap();
    assert_eq!(storage.holders(), holders(0, 0, 0));
    assert_works(&decoder);
}

#[test]
fn refused_for_ever_once_a_vmm_kept_it() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    scene.mapper.set_mood(Mood::Refusing);
    mapping.unmap().unwrap_err();
    assert_eq!(storage.holders(), holders(0, 1, 0));
    assert_refused(&decoder);
    scene.window.reset();
    assert_refused(&decoder);
}

#[test]
fn a_vmm_that_refuses_with_proof_leaves_the_memory_exclusive() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    scene.mapper.set_mood(Mood::RefusingWithProof);
    scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
    assert_eq!(storage.holders(), holders(0, 0, 0));
    assert_works(&decoder);
    scene.mapper.set_mood(Mood::Refusing);
    scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
    assert_eq!(storage.holders(), holders(0, 1, 0));
    assert_refused(&decoder);
}

#[test]
fn nobody_maps_or_borrows_it_during_a_frame() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    let frame = decoder.queue("frame");
    frame
        .write(NOW, |_| {
            CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap_err();
            scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(scene.mapper.calls(), []);
    assert_eq!(scene.window.maps(), 0);
    scene.window.map(&buffer, 0, &scene.tenant).unwrap();
}

#[test]
fn a_frame_is_promised_from_the_moment_it_is_queued() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    let frame = decoder.queue("decode frame 12");
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap();
    let error = cpu.access(Direction::Read, NOW).unwrap_err();
    assert_eq!(error.to_string(), "waited 0ns for decode frame 12");
    drop(frame);
    cpu.access(Direction::Read, NOW).unwrap().end().unwrap();
}

#[test]
fn frames_are_written_in_the_order_of_their_queueing() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    let first = decoder.queue("first");
    let second = decoder.queue("second");
    let fence = second.fence().clone();
    let error = second.write(NOW, |_| Ok::<_, Error>(())).unwrap_err();
    assert_eq!(error.to_string(), "waited 0ns for first");
    assert_eq!(fence.outcome(), Some(Outcome::Failed));
    let third = decoder.queue("third");
    std::thread::scope(|scope| {
        let later = scope.spawn(|| third.write(LONG, |bytes| write_over(bytes, 1, 2)));
        first.write(LONG, |bytes| write_over(bytes, 0, 1)).unwrap();
        later.join().unwrap().unwrap();
    });
}

fn write_over(bytes: &mut [u8], before: u8, after: u8) -> Result<(), Error> {
    assert!(bytes.iter().all(|byte| *byte == before));
    bytes.fill(after);
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Failure {
    Exchange,
    BadFrame,
}

impl From<Error> for Failure {
    fn from(_: Error) -> Self {
        Self::Exchange
    }
}

#[test]
fn a_frame_that_fails_or_panics_fails_its_fence_and_lets_go() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);

    let frame = decoder.queue("bad");
    let fence = frame.fence().clone();
    assert_eq!(
        frame.write(NOW, |_| Err(Failure::BadFrame)),
        Err(Failure::BadFrame)
    );
    assert_eq!(fence.outcome(), Some(Outcome::Failed));
    assert!(storage.holders().is_none());

    let frame = decoder.queue("worse");
    let fence = frame.fence().clone();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        frame.write(NOW, |_| -> Result<(), Failure> { panic!("on purpose") })
    }));
    assert!(panicked.is_err());
    assert_eq!(fence.outcome(), Some(Outcome::Failed));
    assert!(storage.holders().is_none());
    assert_works(&decoder);
}

#[test]
fn the_memory_is_let_go_before_the_fence_says_so() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(1);
    let decoder = decoder(&scene, &buffer);
    for succeed in [true, false] {
        let frame = decoder.queue("frame");
        let (sender, receiver) = std::sync::mpsc::channel();
        let ledger = storage.clone();
        frame
            .fence()
            .on_signal(move |_| sender.send(ledger.holders().is_none()).unwrap());
        let result = frame.write(NOW, |_| {
            if succeed {
                Ok(())
            } else {
                Err(Failure::BadFrame)
            }
        });
        assert_eq!(result.is_ok(), succeed);
        assert!(receiver.recv().unwrap());
    }
}
