//! Which slot numbers and which guest addresses are taken.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::Error;

const PAGE: u64 = 4096;

/// The numbers and guest addresses of all slots.
#[derive(Debug)]
pub(crate) struct Book {
    numbers: Range<u32>,
    /// By where they start: where they end, and whose they are.
    taken: BTreeMap<u64, (u64, Option<u32>)>,
    /// Numbers that were given back, and those never given out from `next` on.
    free: Vec<u32>,
    next: u32,
}

impl Book {
    /// Numbers out of `numbers`.
    pub(crate) fn new(numbers: Range<u32>) -> Self {
        Self {
            next: numbers.start,
            numbers,
            taken: BTreeMap::new(),
            free: Vec::new(),
        }
    }

    /// A number for a slot of `len` bytes at `guest_address`.
    pub(crate) fn take(&mut self, guest_address: u64, len: u64) -> Result<u32, Error> {
        let end = self.check(guest_address, len)?;
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.next < self.numbers.end => {
                self.next += 1;
                self.next - 1
            }
            None => {
                return Err(Error::NoSlot {
                    limit: self.numbers.end - self.numbers.start,
                });
            }
        };
        self.taken.insert(guest_address, (end, Some(number)));
        Ok(number)
    }

    /// Notes addresses that the VMM has for itself.
    pub(crate) fn occupy(&mut self, guest_address: u64, len: u64) -> Result<(), Error> {
        let end = self.check(guest_address, len)?;
        self.taken.insert(guest_address, (end, None));
        Ok(())
    }

    /// Gives back what was taken at `guest_address`.
    pub(crate) fn give_back(&mut self, guest_address: u64) {
        if let Some((_, Some(number))) = self.taken.remove(&guest_address) {
            self.free.push(number);
        }
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.taken
            .values()
            .filter(|(_, slot)| slot.is_some())
            .count()
    }

    fn check(&self, guest_address: u64, len: u64) -> Result<u64, Error> {
        let bad = |reason| {
            Err(Error::BadPlace {
                guest_address,
                len,
                reason,
            })
        };
        if len == 0 {
            return bad("it is empty");
        }
        if !(guest_address | len).is_multiple_of(PAGE) {
            return bad("it is not whole pages");
        }
        let Some(end) = guest_address.checked_add(len) else {
            return bad("it passes the end of the address space");
        };
        match self.taken.range(..end).next_back() {
            Some((_, (taken, slot))) if *taken > guest_address => Err(Error::Occupied {
                guest_address,
                len,
                slot: *slot,
            }),
            _ => Ok(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Take(u64, u64),
        Occupy(u64, u64),
        GiveBack(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let place = || (0u64..40, 1u64..6).prop_map(|(at, len)| (at * PAGE, len * PAGE));
        let step = prop_oneof![
            4 => place().prop_map(|(at, len)| Step::Take(at, len)),
            1 => place().prop_map(|(at, len)| Step::Occupy(at, len)),
            2 => any::<prop::sample::Index>().prop_map(|index| Step::GiveBack(index.index(8))),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn slots_have_numbers_and_addresses_of_their_own(steps in steps()) {
            let mut book = Book::new(3..8);
            // Page by page, who has it.
            let mut pages: BTreeMap<u64, Option<u32>> = BTreeMap::new();
            let mut live: Vec<(u64, u64, u32)> = Vec::new();
            for step in steps {
                let free = |at: u64, len: u64, pages: &BTreeMap<u64, Option<u32>>| {
                    (at..at + len).step_by(4096).all(|page| !pages.contains_key(&page))
                };
                match step {
                    Step::Take(at, len) => match book.take(at, len) {
                        Ok(number) => {
                            prop_assert!(free(at, len, &pages));
                            prop_assert!((3..8).contains(&number));
                            prop_assert!(live.iter().all(|slot| slot.2 != number));
                            live.push((at, len, number));
                            pages.extend((at..at + len).step_by(4096).map(|page| (page, Some(number))));
                        }
                        Err(Error::NoSlot { limit }) => {
                            prop_assert_eq!((limit, live.len()), (5, 5));
                        }
                        Err(_) => prop_assert!(!free(at, len, &pages)),
                    },
                    Step::Occupy(at, len) => {
                        let ok = book.occupy(at, len).is_ok();
                        prop_assert_eq!(ok, free(at, len, &pages));
                        if ok {
                            pages.extend((at..at + len).step_by(4096).map(|page| (page, None)));
                        }
                    }
                    Step::GiveBack(index) => if index < live.len() {
                        let (at, len, _) = live.swap_remove(index);
                        book.give_back(at);
                        pages.retain(|page, _| !(at..at + len).contains(page));
                    },
                }
                prop_assert_eq!(book.slots(), live.len());
            }
        }
    }

    #[test]
    fn places_that_no_slot_can_have_are_refused_in_words() {
        let mut book = Book::new(0..4);
        for (at, len, why) in [
            (0, 0, "empty"),
            (1, PAGE, "whole pages"),
            (0, PAGE + 1, "whole pages"),
            (u64::MAX - PAGE + 1, PAGE, "passes the end"),
        ] {
            let error = book.take(at, len).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
