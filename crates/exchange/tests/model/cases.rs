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
