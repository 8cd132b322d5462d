//! Who waits for whom.

use landbridge_exchange::fence::Outcome;
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Fence, Reservation, Usage};

use crate::scene::{LONG, NOW};

const USAGES: [Usage; 4] = [Usage::Kernel, Usage::Write, Usage::Read, Usage::Bookkeep];

#[test]
fn a_class_is_waited_for_with_all_classes_before_it() {
    let reservation = Reservation::default();
    let pending = USAGES.map(|usage| {
        let (fence, signaller) = Fence::new(format!("{usage:?}"));
        reservation.add_as(fence, usage);
        signaller
    });
    for (class, expected) in [
        (Usage::Kernel, &["Kernel"][..]),
        (Usage::Write, &["Kernel", "Write"]),
        (Usage::Read, &["Kernel", "Write", "Read"]),
        (Usage::Bookkeep, &["Kernel", "Write", "Read", "Bookkeep"]),
    ] {
        let fences = reservation.pending(class);
        let labels: Vec<_> = fences.iter().map(Fence::label).collect();
        assert_eq!(labels, expected, "{class:?}");
    }
    drop(pending);
    assert!(reservation.pending(Usage::Bookkeep).is_empty());
}

#[test]
fn readers_wait_for_writers_and_writers_for_all_but_bookkeepers() {
    for (there, direction, waits) in [
        (Usage::Kernel, Direction::Read, true),
        (Usage::Kernel, Direction::Write, true),
        (Usage::Write, Direction::Read, true),
        (Usage::Write, Direction::Write, true),
        (Usage::Write, Direction::ReadWrite, true),
        (Usage::Read, Direction::Read, false),
        (Usage::Read, Direction::Write, true),
        (Usage::Read, Direction::ReadWrite, true),
        (Usage::Bookkeep, Direction::Read, false),
        (Usage::Bookkeep, Direction::Write, false),
    ] {
        let reservation = Reservation::default();
        let (fence, signaller) = Fence::new("there");
        reservation.add_as(fence.clone(), there);
        let (newcomer, newcomers) = Fence::new("newcomer");
        let before = reservation.add(newcomer.clone(), direction);
        assert_eq!(
            before.iter().any(|one| one.is(&fence)),
            waits,
            "{there:?}, {direction}"
        );
        assert!(
            !before.iter().any(|one| one.is(&newcomer)),
            "it waits for itself"
        );
        drop((signaller, newcomers));
    }
}

#[test]
fn of_two_writers_the_second_waits_for_the_first() {
    let reservation = Reservation::default();
    let (first, _first) = Fence::new("first");
    let (second, _second) = Fence::new("second");
    assert!(reservation.add(first.clone(), Direction::Write).is_empty());
    let before = reservation.add(second, Direction::ReadWrite);
    assert_eq!(before.len(), 1);
    assert!(before[0].is(&first));
}

#[test]
fn work_that_ended_is_forgotten_and_failed_work_has_ended() {
    let reservation = Reservation::default();
    for outcome in [Outcome::Done, Outcome::Failed] {
        let (fence, signaller) = Fence::new("work");
        reservation.add_as(fence, Usage::Kernel);
        assert_eq!(reservation.pending(Usage::Kernel).len(), 1);
        signaller.signal(outcome);
        assert!(reservation.pending(Usage::Kernel).is_empty());
    }
}

#[test]
fn a_wait_that_times_out_names_the_work() {
    let reservation = Reservation::default();
    let (fence, signaller) = Fence::new("decode frame 12");
    reservation.add_as(fence, Usage::Write);
    let error = reservation.wait(Usage::Write, NOW).unwrap_err();
    assert_eq!(error.to_string(), "waited 0ns for decode frame 12");
    reservation.wait(Usage::Kernel, NOW).unwrap();
    signaller.signal(Outcome::Failed);
    reservation.wait(Usage::Bookkeep, LONG).unwrap();
}
