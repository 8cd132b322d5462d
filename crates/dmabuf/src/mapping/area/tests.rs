//! Areas under threads that never stop accessing them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::*;
use crate::mapping::{GateKind, Mapping};
use crate::memfd::{Memfd, Options};

const PAGES: usize = 16;

fn len() -> usize {
    PAGES * usize::try_from(page_size()).unwrap()
}

fn memfd() -> Memfd {
    Memfd::create("area", len() as u64, Options::default()).unwrap()
}

fn all(memfd: &Memfd) -> Piece<'_> {
    Piece::new(memfd, 0, len() as u64)
}

fn word(memfd: &Memfd, at: usize) -> u64 {
    let mapping = Mapping::whole(memfd, Access::ReadOnly).unwrap();
    mapping.view().read_at(at).unwrap()
}

#[test]
fn an_area_shows_zeros_then_memory_then_zeros() {
    let area = Area::new(len(), Access::ReadWrite).unwrap();
    assert!(area.address().is_multiple_of(ALIGN));
    assert_eq!(area.view().read_at::<u64>(0).unwrap(), 0);
    let memory = memfd();
    area.show(&all(&memory)).unwrap();
    area.view().write_at(8, 7u64).unwrap();
    area.touch();
    assert_eq!(word(&memory, 8), 7);
    area.blank().unwrap();
    area.view().write_at(8, 9u64).unwrap();
    assert_eq!(word(&memory, 8), 7);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let area = Area::new(len(), Access::ReadWrite).unwrap();
    let memory = memfd();
    let short = Piece::new(&memory, 0, page_size());
    let refused = area.show(&short);
    assert!(matches!(refused, Err(Error::LengthMismatch { .. })));
    let past = Piece::new(&memory, page_size(), len() as u64);
    assert!(matches!(area.show(&past), Err(Error::OutOfBounds { .. })));
    assert!(matches!(
        Area::new(0, Access::ReadOnly),
        Err(Error::Empty { .. })
    ));
    assert!(matches!(
        Area::new(5, Access::ReadOnly),
        Err(Error::Misaligned { .. })
    ));
    area.view().write_at(0, 1u64).unwrap();
}

/// A keeper, or a printed reason for leaving the test out.
fn keeper() -> Option<Gatekeeper> {
    match Gatekeeper::new() {
        Ok(keeper) => Some(keeper),
        Err(error) => {
            eprintln!("skipped: {error}: {:?}", error.errno());
            None
        }
    }
}

/// Increments a counter in every page, round and round, until told to stop; says
/// how often.
fn count(area: &Area, stop: &AtomicBool, rounds: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        for at in (0..len()).step_by(len() / PAGES) {
            let was: u64 = area.view().read_at(at).unwrap();
            area.view().write_at(at, was + 1).unwrap();
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// From now on the area holds what it shows for a driver's.
fn like_a_driver(area: &Area, memory: &Memfd) {
    let fd = memory.as_fd().try_clone_to_owned().unwrap();
    *area.shown() = Shown::Driver(Again { fd, offset: 0 });
}

#[test]
fn a_gate_loses_no_write() {
    moves_lose_no_write(GateKind::WriteProtect);
}

#[test]
fn a_closed_gate_loses_no_write() {
    moves_lose_no_write(GateKind::Closed);
}

fn moves_lose_no_write(kind: GateKind) {
    let Some(keeper) = keeper() else { return };
    let area = Arc::new(Area::new(len(), Access::ReadWrite).unwrap());
    let mut memory = memfd();
    area.show(&all(&memory)).unwrap();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| count(&area, &stop, &rounds));
        for turn in 0..50 {
            if kind == GateKind::Closed {
                like_a_driver(&area, &memory);
            }
            let gate = area.gate(&keeper).unwrap();
            assert_eq!(gate.kind(), kind);
            let next = memfd();
            let from = Mapping::whole(&memory, Access::ReadOnly).unwrap();
            let to = Mapping::whole(&next, Access::ReadWrite).unwrap();
            to.view().copy_from_view(0, from.view()).unwrap();
            if turn % 5 == 0 {
                drop(gate);
            } else {
                gate.open_to(&all(&next)).unwrap();
                memory = next;
            }
            let before = rounds.load(Ordering::Relaxed);
            while rounds.load(Ordering::Relaxed) < before + 2 {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let rounds = rounds.into_inner();
    for at in (0..len()).step_by(len() / PAGES) {
        assert_eq!(word(&memory, at), rounds);
    }
}

#[test]
fn a_gate_before_zeros_keeps_what_was_written_there() {
    let Some(keeper) = keeper() else { return };
    let area = Arc::new(Area::new(len(), Access::ReadWrite).unwrap());
    area.view().write_at(0, 5u64).unwrap();
    let gate = area.gate(&keeper).unwrap();
    assert!(matches!(area.blank(), Err(Error::Gated)));
    assert!(matches!(area.gate(&keeper), Err(Error::Gated)));
    assert_eq!(area.view().read_at::<u64>(0).unwrap(), 5, "reads go on");
    let writer = thread::spawn({
        let area = Arc::clone(&area);
        move || area.view().write_at(8, 6u64).unwrap()
    });
    thread::sleep(Duration::from_millis(20));
    assert!(!writer.is_finished(), "a write waits");
    gate.open().unwrap();
    writer.join().unwrap();
    let seen: [u64; 2] = [0, 8].map(|at| area.view().read_at(at).unwrap());
    assert_eq!(seen, [5, 6]);
    area.gate(&keeper).unwrap().open_to_zeroes().unwrap();
    assert_eq!(area.view().read_at::<u64>(0).unwrap(), 0);
}

#[test]
fn a_keeper_outlives_its_handle_while_a_gate_is_up() {
    let Some(keeper) = keeper() else { return };
    let area = Arc::new(Area::new(len(), Access::ReadWrite).unwrap());
    let gate = area.gate(&keeper).unwrap();
    drop(keeper);
    drop(gate);
    area.view().write_at(0, 1u64).unwrap();
}
