//! Which actors meet.

use landbridge_exchange::terms::MemoryModel;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use crate::world::{Act, World};
use crate::{orders, seed};

pub(crate) const RESTORABLE: MemoryModel = MemoryModel::Revocable { restorable: true };
pub(crate) const MOVABLE: MemoryModel = MemoryModel::Movable { pinnable: true };

/// Tries many orders of these actors' steps: half of them with few changes
/// between actors, which finds rare orders sooner, half at random.
pub(crate) fn try_orders(model: MemoryModel, acts: &'static [Act], orders: usize) {
    let half = orders.div_ceil(2);
    let few_changes = PctScheduler::new_from_seed(seed(), 3, half);
    Runner::new(few_changes, Config::new()).run(move || World::run(model, acts));
    at_random(move || World::run(model, acts), half);
}

/// Tries many orders of `test`'s steps at random.
pub(crate) fn at_random(test: impl Fn() + Send + Sync + 'static, orders: usize) {
    let random = RandomScheduler::new_from_seed(seed(), orders);
    Runner::new(random, Config::new()).run(test);
}

/// All sets of three of `acts`, one act perhaps more than once.
fn threes(model: MemoryModel, acts: &'static [Act]) {
    for (at, first) in acts.iter().enumerate() {
        for (next, second) in acts.iter().enumerate().skip(at) {
            for third in &acts[next..] {
                let three: &'static [Act] = Box::leak(Box::new([*first, *second, *third]));
                // Shown where it fails.
                println!("{three:?}");
                try_orders(model, three, orders());
            }
        }
    }
}

#[test]
fn memory_that_may_be_taken_away() {
    threes(
        RESTORABLE,
        &[
            Act::Revoke,
            Act::RevokeAndRestore,
            Act::Restore,
            Act::Lose,
            Act::Count,
            Act::CountKept,
            Act::Decode,
            Act::Window,
            Act::Reset,
        ],
    );
}

/// Those who were left behind do what they were asked in the order in which they
/// were asked, so that a window has in the end what it had.
#[test]
fn memory_that_comes_back_to_a_window() {
    let once: &[Act] = &[Act::WindowKept, Act::Blink];
    let twice: &[Act] = &[Act::WindowKept, Act::Blink, Act::Blink];
    try_orders(RESTORABLE, once, 10 * orders());
    try_orders(RESTORABLE, twice, 10 * orders());
}

/// A window serves the next driver, whatever the last one left.
#[test]
fn windows_whose_driver_ends() {
    for other in [Act::Revoke, Act::Blink, Act::Window, Act::Decode] {
        let acts: &[Act] = Box::leak(Box::new([Act::Rebind, Act::Window, other]));
        println!("{acts:?}");
        try_orders(RESTORABLE, acts, 5 * orders());
    }
}

/// Where there is time, everybody is waited for.
#[test]
fn memory_that_is_taken_away_at_leisure() {
    for other in [Act::Window, Act::WindowKept, Act::Decode, Act::CountKept] {
        let acts: &[Act] = Box::leak(Box::new([Act::RevokeAtLeisure, Act::Window, other]));
        println!("{acts:?}");
        try_orders(RESTORABLE, acts, 5 * orders());
    }
}

#[test]
fn memory_that_moves() {
    threes(
        MOVABLE,
        &[
            Act::Move,
            Act::Lose,
            Act::Count,
            Act::CountKept,
            Act::Decode,
            Act::Window,
        ],
    );
}
