//! Memory that moves: no write is lost, no reader sees half of one, and nobody
//! who needs it to stay is moved from under.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::importers::scanout::ScanoutImport;
use landbridge_exchange::importers::window::PAGE;
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Error, Life, Limits};

use crate::revoke::{self, read, write};
use crate::scene::{LONG, NOW, Scene};

const MOVABLE: MemoryModel = MemoryModel::Movable { pinnable: true };
const SOON: Duration = Duration::from_millis(20);

fn buffer(scene: &Scene) -> Buffer {
    revoke::buffer(scene, MOVABLE)
}

fn cpu(scene: &Scene, buffer: &Buffer) -> CpuImport {
    CpuImport::attach(buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap()
}

/// Kinds that this machine can allocate `size` bytes of.
fn kinds(size: u64) -> Vec<Kind> {
    let all = [
        Kind::Memfd,
        Kind::Udmabuf,
        Kind::SystemHeap,
        Kind::HugePages,
    ];
    let has = |kind: &Kind| match HostMemory::allocate("probe", size, *kind) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("skipped: {kind}: {error}");
            false
        }
    };
    all.into_iter().filter(has).collect()
}

#[test]
fn a_move_takes_all_bytes_and_all_importers_along() {
    let scene = Scene::new();
    for to in kinds(2 * PAGE) {
        let buffer = buffer(&scene);
        let (writer, reader) = (cpu(&scene, &buffer), cpu(&scene, &buffer));
        let scanout = ScanoutImport::attach(&buffer, 0, &scene.tenant).unwrap();
        write(&writer, 0x33);
        let before = buffer.identity();
        let moved = buffer.relocate(to, LONG).unwrap();
        assert_eq!(moved.from, "memfd");
        assert_eq!(moved.to, buffer.exporter_name());
        assert_ne!(buffer.identity(), before);
        assert_eq!(buffer.life(), Life::Live);
        assert_eq!(read(&reader), 0x33);
        write(&writer, 0x44);
        assert_eq!(read(&reader), 0x44);
        let shown = scanout.read(NOW).unwrap();
        assert_eq!(shown.view().read_at::<u8>(0).unwrap(), 0x44);
        assert_eq!(
            buffer.copied_bytes(),
            2 * PAGE,
            "a move is a copy that counts"
        );
    }
}

/// The table's cells for a CPU and a scanout.
#[test]
fn an_open_access_holds_a_move_back() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let cpu = cpu(&scene, &buffer);
    let before = buffer.identity();
    let access = cpu.access(Direction::Write, NOW).unwrap();
    let error = buffer.relocate(Kind::Memfd, SOON).unwrap_err();
    assert!(error.to_string().ends_with("for cpu (write)"), "{error}");
    assert!(error.may_pass());
    assert_eq!(buffer.identity(), before);
    access.view().fill(0, 2 * PAGE as usize, 9).unwrap();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| buffer.relocate(Kind::Memfd, LONG).unwrap());
        while buffer.life() != Life::Moving {
            std::thread::yield_now();
        }
        // Whoever comes now waits for the move.
        let late = scope.spawn(|| read(&cpu));
        access.end().unwrap();
        moving.join().unwrap();
        assert_eq!(late.join().unwrap(), 9);
    });
}

/// The table's cell for a guest's window.
#[test]
fn a_guests_window_pins_what_it_maps_and_pays_for_it() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    assert_eq!(scene.tenant.used(Resource::PinnedBytes), 0);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    assert!(mapping.attachment().terms().pins());
    assert_eq!(scene.tenant.used(Resource::PinnedBytes), 2 * PAGE);
    let error = buffer.relocate(Kind::Memfd, LONG).unwrap_err();
    assert_eq!(error.to_string(), "the memory is pinned by guest window");
    assert!(error.may_pass());
    mapping.unmap().unwrap();
    assert_eq!(scene.tenant.used(Resource::PinnedBytes), 0);
    buffer.relocate(Kind::Memfd, LONG).unwrap();
}

/// The table's cell for a decoder.
#[test]
fn a_frame_that_is_queued_is_written_before_the_move() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let decoder = DecoderImport::attach(&buffer, "decoder", &scene.tenant).unwrap();
    let frame = std::sync::Arc::new(decoder).queue("frame");
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| buffer.relocate(Kind::Memfd, LONG).unwrap());
        while buffer.life() != Life::Moving {
            std::thread::yield_now();
        }
        frame
            .write(LONG, |bytes| {
                bytes.fill(0x77);
                Ok::<_, Error>(())
            })
            .unwrap();
        moving.join().unwrap();
    });
    assert_eq!(read(&cpu(&scene, &buffer)), 0x77);
}

#[test]
fn what_stays_where_it_is_is_not_moved() {
    let scene = Scene::new();
    for model in [
        MemoryModel::Pinned,
        MemoryModel::Revocable { restorable: true },
    ] {
        let buffer = revoke::buffer(&scene, model);
        let error = buffer.relocate(Kind::Memfd, NOW).unwrap_err();
        assert!(matches!(error, Error::Promised(it) if it == model));
    }
    let error = buffer(&scene).revoke(NOW).unwrap_err();
    assert!(matches!(error, Error::Promised(MOVABLE)));
}

#[test]
fn no_write_is_lost_and_no_frame_is_torn_while_memory_moves() {
    const WRITES: u64 = 400;
    let scene = Scene::with_limits(Limits::NONE);
    let size = 64 * PAGE;
    let memory = HostMemory::allocate("moving", size, Kind::Memfd).unwrap();
    let exporter = memory.of_model(MOVABLE);
    let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    let kinds = kinds(size);
    let (done, moves) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let cpu = cpu(&scene, &buffer);
                    for _ in 0..WRITES {
                        let access = cpu.access(Direction::ReadWrite, LONG).unwrap();
                        let view = access.view();
                        let count = view.read_at::<u64>(0).unwrap() + 1;
                        for at in (0..size as usize).step_by(4096) {
                            view.write_at(at, count).unwrap();
                        }
                        access.end().unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let cpu = cpu(&scene, &buffer);
            while !done.load(Ordering::Acquire) {
                let access = cpu.access(Direction::Read, LONG).unwrap();
                let view = access.view();
                let first = view.read_at::<u64>(0).unwrap();
                for at in (0..size as usize).step_by(4096) {
                    assert_eq!(view.read_at::<u64>(at).unwrap(), first, "a torn frame");
                }
                access.end().unwrap();
            }
        });
        scope.spawn(|| {
            for kind in kinds.iter().cycle() {
                if done.load(Ordering::Acquire) {
                    break;
                }
                buffer.relocate(*kind, LONG).unwrap();
                moves.fetch_add(1, Ordering::Relaxed);
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    let cpu = cpu(&scene, &buffer);
    let access = cpu.access(Direction::Read, NOW).unwrap();
    assert_eq!(access.view().read_at::<u64>(0).unwrap(), 2 * WRITES);
    assert!(moves.load(Ordering::Relaxed) > 0);
    let stats = scene.exchange.moves();
    assert_eq!(stats.moves, moves.load(Ordering::Relaxed));
    assert_eq!((stats.bytes, stats.failed), (stats.moves * size, 0));
}

#[test]
fn moves_are_held_to_a_rate() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    scene.exchange.limit_moves(Some(PAGE));
    buffer.relocate(Kind::Memfd, NOW).unwrap();
    let error = buffer.relocate(Kind::Memfd, NOW).unwrap_err();
    let Error::MoveRate { rate, retry_after } = error else {
        panic!("{error}");
    };
    assert_eq!(rate, PAGE);
    assert!(retry_after > Duration::from_secs(1) && retry_after <= Duration::from_secs(2));
    assert_eq!(scene.exchange.moves().refused, 1);
    scene.exchange.limit_moves(None);
    buffer.relocate(Kind::Memfd, NOW).unwrap();
}

#[test]
fn both_memories_of_a_move_are_paid_for() {
    let limits = Limits {
        bytes: 3 * PAGE,
        ..Limits::NONE
    };
    let scene = Scene::with_limits(limits);
    let buffer = buffer(&scene);
    let error = buffer.relocate(Kind::Memfd, NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tenant guest asks for 8192 bytes: it holds 8192 of 12288"
    );
    assert_eq!(scene.tenant.used(Resource::Bytes), 2 * PAGE);
    assert_eq!(buffer.life(), Life::Live);
}

/// A move that somebody holds back does not hold up a loss.
#[test]
fn a_move_that_waits_gives_way_to_a_revocation() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let cpu = cpu(&scene, &buffer);
    let access = cpu.access(Direction::Write, NOW).unwrap();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| buffer.relocate(Kind::Memfd, LONG).unwrap_err());
        while buffer.life() != Life::Moving {
            std::thread::yield_now();
        }
        buffer.lose(SOON).unwrap();
        let error = moving.join().unwrap();
        assert!(matches!(error, Error::Revoked { .. }), "{error}");
    });
    access.end().unwrap_err();
}
