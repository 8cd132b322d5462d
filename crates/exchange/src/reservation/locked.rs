//! Several reservations at once.

use crate::fence::Fence;
use crate::mutants::{Mutant, seeded};
use crate::reservation::life::State;
use crate::reservation::{Reservation, Usage};
use crate::sync::MutexGuard;
use crate::terms::Direction;

/// Several reservations, locked together: work on several buffers is added to
/// all of them in one step. Nobody deadlocks, because everybody locks them in
/// the order of their numbers.
///
/// Hold it for the calls below only, and wait for fences afterwards.
pub struct Locked<'a> {
    guards: Vec<MutexGuard<'a, State>>,
    /// Which guard each of the caller's reservations has.
    places: Vec<usize>,
}

/// Locks all of `reservations`; one may occur more than once.
pub fn lock_all<'a>(reservations: &[&'a Reservation]) -> Locked<'a> {
    let mut numbers: Vec<u64> = reservations.iter().map(|one| one.0.number).collect();
    if !seeded(Mutant::AnyOrder) {
        numbers.sort_unstable();
        numbers.dedup();
    }
    let guards = numbers
        .iter()
        .filter_map(|number| reservations.iter().find(|one| one.0.number == *number))
        .map(|one| one.lock())
        .collect();
    let place = |one: &&Reservation| numbers.iter().take_while(|it| **it != one.0.number).count();
    Locked {
        guards,
        places: reservations.iter().map(place).collect(),
    }
}

impl Locked<'_> {
    /// Adds work on reservation number `index` of the caller's; as
    /// [`Reservation::add`].
    ///
    /// # Panics
    /// When there are not so many.
    pub fn add(&mut self, index: usize, fence: Fence, direction: Direction) -> Vec<Fence> {
        let place = self.places[index];
        let before = self.guards[place].add(fence.clone(), direction);
        // The same buffer twice: nobody waits for himself.
        before.into_iter().filter(|one| !one.is(&fence)).collect()
    }

    /// The pending fences of reservation number `index` of the caller's; as
    /// [`Reservation::pending`].
    ///
    /// # Panics
    /// When there are not so many.
    pub fn pending(&mut self, index: usize, up_to: Usage) -> Vec<Fence> {
        self.guards[self.places[index]].pending(up_to)
    }
}
