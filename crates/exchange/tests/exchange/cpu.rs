//! CPU access: its fence, its bracket, its terms.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use landbridge_dmabuf::dma_buf::Readiness;
use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::scanout::ScanoutImport;
use landbridge_exchange::terms::{Direction, Offer};
use landbridge_exchange::{Buffer, Error, Fence, Usage};

use crate::scene::{LONG, NOW, Scene, holders};

/// The fence of the only work that is under way.
fn only_fence(buffer: &Buffer) -> Fence {
    let pending = buffer.reservation().pending(Usage::Bookkeep);
    assert_eq!(pending.len(), 1);
    pending[0].clone()
}

#[test]
fn others_wait_until_a_writer_ends() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let writer = CpuImport::attach(&buffer, "writer", Direction::Write, &scene.tenant).unwrap();
    let scanout = ScanoutImport::attach(&buffer, 0, &scene.tenant).unwrap();

    let access = writer.access(Direction::Write, NOW).unwrap();
    access.view().write_at(8, 0x5a_u8).unwrap();
    let fence = only_fence(&buffer);
    let error = scanout.read(NOW).unwrap_err();
    assert_eq!(error.to_string(), "waited 0ns for writer (write)");
    assert_eq!(error.fault(), Fault::Peer);
    assert!(error.may_pass());

    access.end().unwrap();
    assert_eq!(fence.outcome(), Some(Outcome::Done));
    let seen = scanout.read(NOW).unwrap();
    assert_eq!(seen.view().read_at::<u8>(8).unwrap(), 0x5a);
}

#[test]
fn readers_share_and_a_writer_waits_for_them() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "both", Direction::ReadWrite, &scene.tenant).unwrap();
    let first = cpu.access(Direction::Read, NOW).unwrap();
    let second = cpu.access(Direction::Read, NOW).unwrap();
    first.end().unwrap();
    let error = cpu.access(Direction::ReadWrite, NOW).unwrap_err();
    assert_eq!(error.to_string(), "waited 0ns for both (read)");
    drop(second);
    cpu.access(Direction::ReadWrite, NOW)
        .unwrap()
        .end()
        .unwrap();
}

#[test]
fn an_access_that_is_dropped_ends() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Write, &scene.tenant).unwrap();
    let access = cpu.access(Direction::Write, NOW).unwrap();
    let fence = only_fence(&buffer);
    drop(access);
    assert_eq!(fence.outcome(), Some(Outcome::Done));
}

#[test]
fn a_writer_that_panics_has_failed_and_a_reader_has_not() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    for (direction, outcome) in [
        (Direction::Write, Outcome::Failed),
        (Direction::Read, Outcome::Done),
    ] {
        let mut fence = None;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _access = cpu.access(direction, NOW).unwrap();
            fence = Some(only_fence(&buffer));
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(fence.unwrap().outcome(), Some(outcome), "{direction}");
    }
}

#[test]
fn an_access_that_timed_out_holds_nobody_up() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let writing = cpu.access(Direction::Write, NOW).unwrap();
    cpu.access(Direction::Write, NOW).unwrap_err();
    writing.end().unwrap();
    assert!(buffer.reservation().pending(Usage::Bookkeep).is_empty());
    cpu.access(Direction::Write, NOW).unwrap().end().unwrap();
}

#[test]
fn a_waiter_goes_on_when_the_other_thread_ends() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let writing = cpu.access(Direction::Write, NOW).unwrap();
    writing.view().fill(0, 4096, 7).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reading = cpu.access(Direction::Read, LONG).unwrap();
            reading.view().read_at::<u8>(4095).unwrap()
        });
        writing.end().unwrap();
        assert_eq!(reader.join().unwrap(), 7);
    });
}

#[test]
fn access_stays_within_its_terms() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let reader = CpuImport::attach(&buffer, "reader", Direction::Read, &scene.tenant).unwrap();
    let writer = CpuImport::attach(&buffer, "writer", Direction::Write, &scene.tenant).unwrap();
    let error = reader.access(Direction::ReadWrite, NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "reader can't use fake: read-write access was asked under terms for read"
    );
    assert!(matches!(
        writer.access(Direction::Read, NOW),
        Err(Error::Refused(_))
    ));
    assert!(buffer.reservation().pending(Usage::Bookkeep).is_empty());
}

#[test]
fn a_view_for_reading_can_not_write() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let reading = cpu.access(Direction::Read, NOW).unwrap();
    reading.view().write_at(0, 1_u8).unwrap_err();
    reading.end().unwrap();
    let writing = cpu.access(Direction::Write, NOW).unwrap();
    writing.view().write_at(0, 1_u8).unwrap();
}

#[test]
fn an_access_leads_to_the_bytes_that_were_asked_for() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let writing = cpu.access_range(Direction::Write, 8..12, NOW).unwrap();
    assert_eq!(writing.view().len(), 4);
    writing.view().fill(0, 4, 7).unwrap();
    writing.view().write_at(4, 1_u8).unwrap_err();
    writing.end().unwrap();
    let reading = cpu.access(Direction::Read, NOW).unwrap();
    let seen = [7, 8, 11, 12].map(|at| reading.view().read_at::<u8>(at).unwrap());
    assert_eq!(seen, [0, 7, 7, 0]);
    reading.end().unwrap();
    let error = cpu.access_range(Direction::Read, 0..4097, NOW).unwrap_err();
    assert!(matches!(error, Error::Memory(_)), "{error}");
    assert!(buffer.reservation().pending(Usage::Bookkeep).is_empty());
}

#[test]
fn an_access_that_is_forgotten_shows() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap();
    cpu.access(Direction::Read, NOW).unwrap().end().unwrap();
    drop(cpu.access(Direction::Read, NOW).unwrap());
    let counters = cpu.counters().unwrap();
    assert_eq!((counters.begun, counters.open()), (2, 0));
    assert_eq!(counters.dropped, 0, "others were told before it had ended");
    let open = cpu.access(Direction::Read, NOW).unwrap();
    assert_eq!(cpu.counters().unwrap().open(), 1);
    drop(open);
}

#[test]
fn the_mapping_is_on_the_ledger_for_as_long_as_the_import_lives() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(1);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap();
    assert_eq!(storage.holders(), holders(0, 0, 1));
    assert_eq!(buffer.importers()[0].name, "cpu");
    drop(buffer);
    assert_eq!(scene.exchange.buffers().len(), 1, "the import keeps it");
    drop(cpu);
    assert_eq!(storage.holders(), holders(0, 0, 0));
}

#[test]
fn a_map_that_fails_leaves_no_importer() {
    let scene = Scene::new();
    let offer = FakeExporter::EVERYTHING;
    let buffer = scene
        .exchange
        .publish(FakeExporter::new(4096, offer), &scene.tenant)
        .unwrap();
    let error = ScanoutImport::attach(&buffer, 1, &scene.tenant).unwrap_err();
    assert_eq!(
        error.to_string(),
        "fake can't export this: it has no memory"
    );
    assert!(buffer.importers().is_empty());

    let none = Offer {
        cpu: false,
        ..offer
    };
    let buffer = scene
        .exchange
        .publish(FakeExporter::new(4096, none), &scene.tenant)
        .unwrap();
    let error = ScanoutImport::attach(&buffer, 1, &scene.tenant).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scanout 1 can't use fake: cpu access is not offered"
    );
}

#[test]
fn a_device_that_takes_too_long_is_a_peer() {
    let error = Error::Memory(landbridge_dmabuf::Error::Fenced {
        buffer: "dma-buf 7 of drm".to_owned(),
        readiness: Readiness::Read,
        waited: Duration::from_millis(50),
    });
    assert_eq!(
        error.to_string(),
        "dma-buf 7 of drm was still being written by devices after 50 ms"
    );
    assert_eq!(error.fault(), Fault::Peer);
    assert!(error.may_pass());
}
