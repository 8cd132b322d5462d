//! Which parts of a range are free.

use std::collections::BTreeMap;

/// A range of bytes of which parts are taken and given back, first fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// Free ranges: length by offset, never empty, never adjacent.
    free: BTreeMap<u64, u64>,
}

impl Space {
    /// `size` bytes, all free.
    pub(super) fn new(size: u64) -> Self {
        let all = (size > 0).then_some((0, size));
        Self {
            free: all.into_iter().collect(),
        }
    }

    /// Takes `size` bytes and returns where they start.
    pub(super) fn take(&mut self, size: u64) -> Option<u64> {
        let fits = |(_, room): &(&u64, &u64)| **room >= size;
        let (&start, &room) = self.free.iter().find(fits)?;
        self.free.remove(&start);
        if room > size {
            self.free.insert(start + size, room - size);
        }
        Some(start)
    }

    /// Gives back what was taken.
    pub(super) fn give(&mut self, mut start: u64, mut size: u64) {
        let before = self.free.range(..start).next_back();
        if let Some((before, room)) = before.map(|(before, room)| (*before, *room))
            && before + room == start
        {
            self.free.remove(&before);
            start = before;
            size += room;
        }
        if let Some(room) = self.free.remove(&(start + size)) {
            size += room;
        }
        self.free.insert(start, size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_never_overlap_and_all_comes_back(
            steps in proptest::collection::vec((1u64..9, any::<prop::sample::Index>()), 0..60)
        ) {
            let mut space = Space::new(64);
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (size, which) in steps {
                match space.take(size) {
                    Some(start) => {
                        let overlaps = |(other, len): &(u64, u64)| {
                            start < other + len && *other < start + size
                        };
                        prop_assert!(start + size <= 64 && !taken.iter().any(overlaps));
                        taken.push((start, size));
                    }
                    None => {
                        let (start, size) = taken.swap_remove(which.index(taken.len()));
                        space.give(start, size);
                    }
                }
            }
            for (start, size) in taken {
                space.give(start, size);
            }
            prop_assert_eq!(space, Space::new(64));
        }
    }
}
