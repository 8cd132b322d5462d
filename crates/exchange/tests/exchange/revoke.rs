//! Memory that is taken away: nobody reaches it, nobody crashes, nobody waits
//! for ever, and it comes back where that was promised.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use landbridge_dmabuf::{Access, Error as Dmabuf, Mapping};
use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::importers::scanout::{Failing, ScanoutImport};
use landbridge_exchange::importers::window::fake::Mood;
use landbridge_exchange::importers::window::{
    MapperError, PAGE, Unmapped, Window, WindowMap, WindowMapper,
};
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Error, Life, Usage};

use crate::scene::{LONG, NOW, Scene};

const RESTORABLE: MemoryModel = MemoryModel::Revocable { restorable: true };
const SOON: Duration = Duration::from_millis(20);

pub(crate) fn buffer(scene: &Scene, model: MemoryModel) -> Buffer {
    let memory = HostMemory::allocate("revocable", 2 * PAGE, Kind::Memfd).unwrap();
    let exporter = memory.of_model(model);
    scene.exchange.publish(exporter, &scene.tenant).unwrap()
}

fn cpu(scene: &Scene, buffer: &Buffer) -> CpuImport {
    CpuImport::attach(buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap()
}

pub(crate) fn write(cpu: &CpuImport, byte: u8) {
    let access = cpu.access(Direction::Write, LONG).unwrap();
    access.view().fill(0, 2 * PAGE as usize, byte).unwrap();
    access.end().unwrap();
}

pub(crate) fn read(cpu: &CpuImport) -> u8 {
    let access = cpu.access(Direction::Read, LONG).unwrap();
    let byte = access.view().read_at(PAGE as usize).unwrap();
    access.end().unwrap();
    byte
}

fn assert_revoked(error: &Error) {
    assert!(matches!(error, Error::Revoked { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Peer);
}

#[test]
fn an_access_that_does_not_end_in_time_is_cut_off_and_fails() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let cpu = cpu(&scene, &buffer);
    write(&cpu, 7);
    let access = cpu.access(Direction::ReadWrite, NOW).unwrap();
    let view = access.view();
    let report = buffer.revoke(SOON).unwrap();
    assert_eq!(report.cut_off.as_deref(), Some("cpu (read-write)"));
    assert!(report.took >= SOON && !report.already);
    for result in [view.read_at::<u8>(0).map(drop), view.write_at(0, 9_u8)] {
        assert!(matches!(result, Err(Dmabuf::Revoked)), "{result:?}");
    }
    assert_revoked(&access.end().unwrap_err());

    buffer.restore(NOW).unwrap();
    assert_eq!(
        read(&cpu),
        7,
        "the bytes came back, without what was written late"
    );
}

#[test]
fn an_access_that_ends_in_time_is_waited_for() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let cpu = cpu(&scene, &buffer);
    std::thread::scope(|scope| {
        let access = cpu.access(Direction::Write, NOW).unwrap();
        let revoking = scope.spawn(|| buffer.revoke(LONG).unwrap());
        while buffer.life() == Life::Live {
            std::thread::yield_now();
        }
        // Told, and still reached: the deadline has not passed.
        access.view().fill(0, 2 * PAGE as usize, 8).unwrap();
        access.end().unwrap();
        assert_eq!(revoking.join().unwrap().cut_off, None);
    });
    buffer.restore(NOW).unwrap();
    assert_eq!(read(&cpu), 8);
}

#[test]
fn nobody_comes_in_while_the_memory_is_away() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let cpu = cpu(&scene, &buffer);
    buffer.revoke(NOW).unwrap();
    let attach = || CpuImport::attach(&buffer, "late", Direction::Read, &scene.tenant);
    let error = attach().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("buffer {} is revoked, restorable", buffer.id())
    );
    assert!(error.may_pass());
    assert_revoked(&error);
    assert_revoked(&cpu.access(Direction::Read, LONG).unwrap_err());
    assert_revoked(&scene.window.map(&buffer, 0, &scene.tenant).unwrap_err());
    assert_eq!(scene.mapper.calls(), []);
    assert!(buffer.reservation().pending(Usage::Bookkeep).is_empty());
    buffer.restore(NOW).unwrap();
    attach().unwrap();
}

#[test]
fn memory_that_never_comes_back_is_released() {
    let scene = Scene::new();
    let buffer = buffer(&scene, MemoryModel::Revocable { restorable: false });
    let cpu = cpu(&scene, &buffer);
    buffer.revoke(NOW).unwrap();
    assert_eq!(buffer.identity(), None, "the memory is gone");
    let error = buffer.restore(NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("buffer {} is revoked", buffer.id())
    );
    assert!(!error.may_pass());
    assert_revoked(&cpu.access(Direction::Read, NOW).unwrap_err());
    assert!(buffer.revoke(NOW).unwrap().already);
}

#[test]
fn what_was_promised_to_stay_can_not_be_taken_but_can_be_lost() {
    let scene = Scene::new();
    let buffer = buffer(&scene, MemoryModel::Pinned);
    let cpu = cpu(&scene, &buffer);
    let error = buffer.revoke(NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the memory is pinned: its exporter has promised that it stays as it is"
    );
    write(&cpu, 1);
    buffer.lose(NOW).unwrap();
    assert_eq!(buffer.life(), Life::Revoked { restorable: false });
    buffer.restore(NOW).unwrap_err();
}

/// The table's cell: a scanout that must not fail takes no revocable memory.
#[test]
fn a_scanout_that_must_not_fail_refuses_what_may_be_taken_away() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let error = ScanoutImport::attach(&buffer, 0, &scene.tenant).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scanout 0 can't use memfd: the memory is revocable, restorable, which the importer \
         can't follow"
    );
    let scanout = ScanoutImport::attach_as(&buffer, 0, Failing::Allowed, &scene.tenant).unwrap();
    buffer.revoke(NOW).unwrap();
    assert_revoked(&scanout.read(NOW).unwrap_err());
    buffer.restore(NOW).unwrap();
    scanout.read(NOW).unwrap().end().unwrap();
}

/// The table's cell: a guest's window is unmapped, and mapped again.
#[test]
fn a_guests_window_is_unmapped_and_mapped_again_where_it_was() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let mapping = scene.window.map(&buffer, PAGE, &scene.tenant).unwrap();
    // What the guest finds there meanwhile is for `window_zeroes`.
    let zeroes = scene.mapper.hold_up_after(1);
    buffer.revoke(LONG).unwrap();
    assert!(!mapping.is_mapped());
    assert_eq!(scene.mapper.mapped(), []);
    assert_eq!(scene.window.maps(), 1, "the place is kept");
    let (other, _) = scene.buffer(1);
    scene.window.map(&other, PAGE, &scene.tenant).unwrap_err();
    drop(zeroes);
    buffer.restore(LONG).unwrap();
    assert!(mapping.is_mapped());
    assert_eq!(scene.mapper.mapped(), [(PAGE, 2 * PAGE)]);
    buffer.revoke(LONG).unwrap();
    mapping.unmap().unwrap();
    assert_eq!(scene.window.maps(), 0);
    buffer.restore(LONG).unwrap();
    assert_eq!(scene.mapper.mapped(), []);
}

#[test]
fn a_map_that_a_revocation_overtakes_is_undone() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    std::thread::scope(|scope| {
        let held = scene.mapper.hold_up();
        let mapping = scope.spawn(|| scene.window.map(&buffer, 0, &scene.tenant));
        scene.mapper.wait_for_calls(1);
        let revoking = scope.spawn(|| buffer.revoke(LONG).unwrap());
        while buffer.life() != Life::Revoking {
            std::thread::yield_now();
        }
        drop(held);
        let error = mapping.join().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the memory was taken away while 0x2000 bytes were mapped at 0x0"
        );
        assert!(error.may_pass());
        revoking.join().unwrap();
    });
    assert_eq!(scene.mapper.mapped(), []);
    assert_eq!(scene.window.maps(), 0);
}

#[test]
fn a_window_that_was_reset_meanwhile_gets_nothing_back() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    buffer.revoke(LONG).unwrap();
    scene.mapper.drop_all();
    scene.window.reset();
    buffer.restore(LONG).unwrap();
    assert_eq!(scene.mapper.mapped(), []);
    mapping.unmap().unwrap();
}

/// A VMM that keeps what it maps, and looks into it.
struct Stubborn {
    kept: Mutex<Vec<Mapping>>,
    answers: AtomicBool,
}

impl WindowMapper for Stubborn {
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError> {
        let mapping = Mapping::new(&map.file, 0, map.len, Access::ReadWrite).unwrap();
        self.kept.lock().unwrap().push(mapping);
        Ok(())
    }

    fn unmap(&self, _: u64, _: u64) -> Result<Unmapped, MapperError> {
        while !self.answers.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(MapperError::Refused("unmap"))
    }
}

/// The hostile tenant: neither a deadline nor the memory is his.
#[test]
fn a_vmm_that_never_answers_keeps_neither_the_memory_nor_the_revoker() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let vmm = Arc::new(Stubborn {
        kept: Mutex::default(),
        answers: AtomicBool::new(false),
    });
    let window = Window::new(Arc::clone(&vmm) as Arc<_>, 16 * PAGE);
    let cpu = cpu(&scene, &buffer);
    write(&cpu, 0x5a);
    let mapping = window.map(&buffer, 0, &scene.tenant).unwrap();
    let theirs = |at| {
        let kept = vmm.kept.lock().unwrap();
        kept[0].view().read_at::<u8>(at).unwrap()
    };
    assert_eq!(theirs(0), 0x5a);

    let began = Instant::now();
    buffer.revoke(SOON).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(theirs(0), 0, "the VMM still reads the memory");

    buffer.restore(SOON).unwrap();
    assert_eq!(read(&cpu), 0x5a, "and everybody else has it back");
    write(&cpu, 0x5b);
    assert_eq!(
        theirs(PAGE as usize),
        0,
        "the VMM sees what is written later"
    );
    vmm.answers.store(true, Ordering::Release);
    // It has nothing of ours any more.
    mapping.unmap().unwrap();
    window.reset();
    drop((window, cpu, buffer));
    // Those who were left behind with the question end by themselves.
    while !scene.exchange.buffers().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_vmm_that_refuses_or_vanishes_is_severed_too() {
    for mood in [Mood::Refusing, Mood::Vanished] {
        let scene = Scene::new();
        let buffer = buffer(&scene, RESTORABLE);
        let before = buffer.identity();
        let cpu = cpu(&scene, &buffer);
        write(&cpu, 3);
        let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
        scene.mapper.set_mood(mood);
        buffer.revoke(LONG).unwrap();
        buffer.restore(LONG).unwrap();
        assert_ne!(buffer.identity(), before, "fresh memory");
        assert_eq!(read(&cpu), 3);
        drop(mapping);
    }
}

#[test]
fn a_second_revocation_joins_the_first_and_the_earlier_deadline_counts() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let cpu = cpu(&scene, &buffer);
    let access = cpu.access(Direction::Write, NOW).unwrap();
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| buffer.revoke(LONG).unwrap());
        while buffer.life() != Life::Revoking {
            std::thread::yield_now();
        }
        assert!(buffer.revoke(SOON).unwrap().already);
        assert_eq!(buffer.life(), Life::Revoked { restorable: true });
        assert!(patient.join().unwrap().cut_off.is_some());
    });
    drop(access);
}

/// The hostile tenant again: who was cut off orders nobody's work any more.
#[test]
fn a_stuck_access_holds_nobody_up_after_the_memory_came_back() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let (stuck, other) = (cpu(&scene, &buffer), cpu(&scene, &buffer));
    let access = stuck.access(Direction::Write, NOW).unwrap();
    assert!(matches!(
        other.access(Direction::Read, SOON),
        Err(Error::Timeout(_))
    ));
    buffer.revoke(SOON).unwrap();
    buffer.restore(NOW).unwrap();
    other.access(Direction::Write, NOW).unwrap().end().unwrap();
    assert_revoked(&access.end().unwrap_err());
}

/// The table's cell: a decoder loses memory between two frames.
#[test]
fn a_frame_ends_before_its_memory_goes_and_one_that_waits_gives_up() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let decoder = DecoderImport::attach(&buffer, "decoder", &scene.tenant).unwrap();
    let decoder = Arc::new(decoder);
    let (first, second) = (decoder.queue("first"), decoder.queue("second"));
    let (began, wait) = mpsc::channel();
    let revoked = &buffer;
    std::thread::scope(|scope| {
        let revoking = scope.spawn(move || {
            wait.recv().unwrap();
            revoked.revoke(LONG).unwrap()
        });
        let life = || buffer.life();
        first
            .write(LONG, |bytes| {
                began.send(()).unwrap();
                while life() != Life::Revoking {
                    std::thread::yield_now();
                }
                bytes.fill(0x11);
                Ok::<_, Error>(())
            })
            .unwrap();
        let error = second.write(LONG, |_| panic!("it was told")).unwrap_err();
        assert_revoked(&error);
        assert_eq!(revoking.join().unwrap().cut_off, None);
    });
    let late = decoder.queue("late");
    assert_revoked(&late.write(LONG, |_| Ok::<_, Error>(())).unwrap_err());
    buffer.restore(NOW).unwrap();
    assert_eq!(read(&cpu(&scene, &buffer)), 0x11);
}

#[test]
fn a_frame_that_takes_too_long_is_written_where_nobody_looks() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let decoder = DecoderImport::attach(&buffer, "decoder", &scene.tenant).unwrap();
    let frame = Arc::new(decoder).queue("slow");
    let error = frame
        .write(LONG, |bytes| {
            let report = buffer.revoke(SOON).unwrap();
            assert_eq!(report.cut_off.as_deref(), Some("slow"));
            bytes.fill(0x22);
            Ok::<_, Error>(())
        })
        .unwrap_err();
    assert_revoked(&error);
    buffer.restore(NOW).unwrap();
    assert_eq!(read(&cpu(&scene, &buffer)), 0);
}

#[test]
fn importers_may_leave_while_the_memory_is_away_and_nothing_is_left() {
    let scene = Scene::new();
    let buffer = buffer(&scene, RESTORABLE);
    let cpu = cpu(&scene, &buffer);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    buffer.revoke(LONG).unwrap();
    drop((cpu, mapping));
    assert!(buffer.importers().is_empty());
    buffer.restore(NOW).unwrap();
    // A scene that ends charges nothing and keeps nothing.
}

#[test]
fn what_happens_is_told_in_order() {
    let scene = Scene::new();
    let heard = scene.exchange.subscribe();
    let buffer = buffer(&scene, RESTORABLE);
    let import = cpu(&scene, &buffer);
    let _open = import.access(Direction::Read, NOW).unwrap();
    ScanoutImport::attach(&buffer, 0, &scene.tenant).unwrap_err();
    buffer.revoke(NOW).unwrap();
    buffer.restore(NOW).unwrap();
    drop(_open);
    drop(import);
    let events: Vec<_> = std::iter::from_fn(|| heard.next(NOW)).collect();
    let names: Vec<_> = events.iter().map(|event| event.what.name()).collect();
    assert_eq!(
        names,
        [
            "attached", "mapped", "refused", "cut-off", "revoked", "restored", "detached"
        ]
    );
    assert!(events.windows(2).all(|two| two[0].number < two[1].number));
    assert!(events.iter().all(|event| event.buffer == buffer.id()));
    assert_eq!(heard.missed(), 0);
}
