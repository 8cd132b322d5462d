//! A bug seeded in each rule is found.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use landbridge_exchange::mutants::{Mutant, seed};
use landbridge_exchange::reservation::lock_all;
use landbridge_exchange::terms::MemoryModel;
use landbridge_exchange::{Reservation, Usage};

use crate::cases::{MOVABLE, RESTORABLE, at_random, try_orders};
use crate::world::Act;

/// More than are ever needed.
const ORDERS: usize = 30_000;

/// Whether `test` fails with this bug, and not without it.
fn is_found(mutant: Mutant, test: impl Fn(usize)) {
    test(40);
    seed(Some(mutant));
    let result = catch_unwind(AssertUnwindSafe(|| test(ORDERS)));
    seed(None);
    assert!(result.is_err(), "{mutant:?} was not found");
}

fn found_by(mutant: Mutant, model: MemoryModel, acts: &'static [Act]) {
    is_found(mutant, |orders| try_orders(model, acts, orders));
}

#[test]
fn importers_that_come_in_while_the_memory_is_away() {
    found_by(Mutant::LateJoin, RESTORABLE, &[Act::Revoke, Act::Decode]);
}

#[test]
fn accesses_that_begin_while_the_memory_is_away() {
    found_by(
        Mutant::LateEnter,
        RESTORABLE,
        &[Act::Revoke, Act::CountKept],
    );
}

#[test]
fn mappings_that_are_kept_after_a_move() {
    found_by(Mutant::StaleMapping, MOVABLE, &[Act::Move, Act::Count]);
}

#[test]
fn mappings_that_are_left_after_a_revocation() {
    found_by(Mutant::NoCut, RESTORABLE, &[Act::Revoke, Act::CountKept]);
}

#[test]
fn revocations_that_wait_for_nobody() {
    found_by(
        Mutant::Impatient,
        RESTORABLE,
        &[Act::Revoke, Act::CountKept],
    );
}

#[test]
fn moves_that_wait_for_nobody() {
    found_by(Mutant::MoveAtOnce, MOVABLE, &[Act::Move, Act::CountKept]);
}

#[test]
fn moves_that_nobody_waits_for() {
    found_by(Mutant::NoKernelFence, MOVABLE, &[Act::Move, Act::CountKept]);
}

#[test]
fn moves_of_pinned_memory() {
    found_by(Mutant::MovePinned, MOVABLE, &[Act::Move, Act::Window]);
}

#[test]
fn moves_that_nobody_follows() {
    found_by(Mutant::NoFollow, MOVABLE, &[Act::Move, Act::CountKept]);
}

#[test]
fn second_revocations_that_return_too_early() {
    let acts = &[Act::Revoke, Act::Revoke, Act::CountKept];
    found_by(Mutant::HalfRevoked, RESTORABLE, acts);
}

#[test]
fn restorations_that_come_too_early() {
    let acts = &[Act::Revoke, Act::Restore, Act::CountKept];
    found_by(Mutant::EarlyRestore, RESTORABLE, acts);
}

#[test]
fn revocations_in_the_middle_of_a_move() {
    let acts = &[Act::Move, Act::Lose, Act::CountKept];
    found_by(Mutant::RevokeInMove, MOVABLE, acts);
}

#[test]
fn frames_that_are_decoded_into_memory_that_is_away() {
    found_by(
        Mutant::StaleExclusive,
        RESTORABLE,
        &[Act::Revoke, Act::Decode],
    );
}

#[test]
fn maps_that_a_revocation_forgets() {
    found_by(
        Mutant::ForgottenMap,
        RESTORABLE,
        &[Act::RevokeAtLeisure, Act::Window],
    );
}

#[test]
fn loans_of_memory_that_is_away() {
    let acts = &[Act::Revoke, Act::Window];
    found_by(Mutant::LateLoan, RESTORABLE, acts);
}

#[test]
fn cuts_that_come_after_the_restoration() {
    let acts = &[Act::WindowKept, Act::Blink];
    found_by(Mutant::OutOfTurn, RESTORABLE, acts);
}

#[test]
fn maps_that_linger_after_a_reset() {
    found_by(Mutant::Lingering, RESTORABLE, &[Act::Rebind, Act::Window]);
}

#[test]
fn fences_of_those_who_were_cut_off() {
    is_found(Mutant::StaleFences, |orders| {
        at_random(crate::world::stuck_access, orders);
    });
}

#[test]
fn reservations_that_are_locked_in_any_order() {
    is_found(Mutant::AnyOrder, |orders| {
        at_random(two_orders, orders);
    });
}

/// Two who lock the same reservations, each in another order.
fn two_orders() {
    let both = Arc::new([Reservation::default(), Reservation::default()]);
    let other = Arc::clone(&both);
    let thread = shuttle::thread::spawn(move || {
        let mut locked = lock_all(&[&other[1], &other[0]]);
        assert!(locked.pending(0, Usage::Bookkeep).is_empty());
    });
    let mut locked = lock_all(&[&both[0], &both[1]]);
    assert!(locked.pending(1, Usage::Bookkeep).is_empty());
    drop(locked);
    thread.join().unwrap();
}
