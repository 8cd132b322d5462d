//! A stop that may be a pause, and what shows which it was.
//!
//! A VMM says the same (`GET_VRING_BASE` for each queue) when the driver leaves,
//! when the guest restarts, and when the VM is only paused: `virsh suspend`, or a
//! snapshot. Only how queues go on tells them apart: after a pause each goes on
//! exactly where it was, and a new driver begins at 0.

use virtio_queue::{Queue as Rings, QueueT};

/// Where a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    next_available: u16,
    next_used: u16,
    /// Descriptor table, available ring, used ring.
    parts: [u64; 3],
    size: u16,
}

impl Place {
    pub(super) fn of(rings: &Rings) -> Self {
        Self {
            next_available: rings.next_avail(),
            next_used: rings.next_used(),
            parts: [rings.desc_table(), rings.avail_ring(), rings.used_ring()],
            size: rings.size(),
        }
    }

    /// Whether a driver has used it, as far as that can be seen.
    fn is_used(self) -> bool {
        (self.next_available, self.next_used) != (0, 0)
    }
}

/// What a stop was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same driver goes on.
    Pause,
    /// The driver has gone, and this is another. It accepted these features, if
    /// it said so.
    End(Option<u64>),
}

/// Queues that were stopped and have not gone on.
#[derive(Debug, Default)]
pub(super) struct Stop {
    places: Vec<Option<Place>>,
    features: Option<u64>,
    /// A queue has gone on that says so.
    paused: bool,
}

impl Stop {
    /// A queue is stopped here.
    pub(super) fn stop(&mut self, queue: usize, place: Place) {
        self.paused = false;
        if self.places.len() <= queue {
            self.places.resize(queue + 1, None);
        }
        self.places[queue] = Some(place);
    }

    /// The driver accepts features.
    pub(super) fn accept(&mut self, features: u64) {
        self.features = Some(features);
    }

    /// A queue goes on after a pause. Returns whether all do now.
    pub(super) fn go_on(&mut self, queue: usize) -> bool {
        self.paused = true;
        if let Some(place) = self.places.get_mut(queue) {
            *place = None;
        }
        self.places.iter().all(Option::is_none)
    }

    /// Whether this queue is stopped.
    pub(super) fn has(&self, queue: usize) -> bool {
        self.places.get(queue).is_some_and(Option::is_some)
    }

    /// What it was, now that `queue` is about to go on, `now` says where each
    /// queue is, and the driver before had accepted `features`.
    ///
    /// Queues that nobody used say nothing. A driver that has given an exact
    /// multiple of 65,536 chains and got all of them back can't be told from
    /// none, and counts as gone: better a picture that is lost than one that a
    /// new driver can't get rid of.
    pub(super) fn verdict(
        &self,
        queue: usize,
        features: u64,
        now: impl Fn(usize) -> Place,
    ) -> Verdict {
        let same = |index: usize, place: &Place| now(index) == *place;
        let stays = self.places.get(queue).and_then(Option::as_ref);
        let stays = stays.is_some_and(|place| same(queue, place));
        let stopped = self.places.iter().enumerate();
        let used = stopped
            .filter_map(|(index, place)| Some((index, place.as_ref()?)))
            .any(|(index, place)| place.is_used() && same(index, place));
        let agrees = self.features.is_none_or(|accepted| accepted == features);
        match stays && (used || self.paused) && agrees {
            true => Verdict::Pause,
            false => Verdict::End(self.features),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: u64 = 0b101;

    fn at(next_available: u16) -> Place {
        Place {
            next_available,
            next_used: next_available,
            parts: [0x1000, 0x2000, 0x3000],
            size: 256,
        }
    }

    fn stopped(places: [u16; 2]) -> Stop {
        let mut stop = Stop::default();
        for (queue, place) in places.into_iter().enumerate() {
            stop.stop(queue, at(place));
        }
        stop
    }

    #[test]
    fn the_same_places_are_a_pause_and_others_a_new_driver() {
        let verdict =
            |before, now: [u16; 2]| stopped(before).verdict(0, FEATURES, |queue| at(now[queue]));
        assert_eq!(verdict([7, 3], [7, 3]), Verdict::Pause);
        assert_eq!(verdict([7, 0], [7, 0]), Verdict::Pause);
        assert_eq!(verdict([0, 3], [0, 3]), Verdict::Pause);
        for (before, now) in [
            ([7, 3], [0, 0]),
            ([7, 3], [0, 3]),
            ([7, 3], [8, 3]),
            ([0, 0], [0, 0]),
        ] {
            assert_eq!(
                verdict(before, now),
                Verdict::End(None),
                "{before:?}, {now:?}"
            );
        }
    }

    #[test]
    fn other_rings_or_features_are_a_new_driver() {
        let moved = Place {
            parts: [0x9000, 0x2000, 0x3000],
            ..at(7)
        };
        let lost = Place {
            next_used: 0,
            ..at(7)
        };
        for now in [moved, lost] {
            let verdict = stopped([7, 0]).verdict(0, FEATURES, |_| now);
            assert_eq!(verdict, Verdict::End(None));
        }
        let mut stop = stopped([7, 0]);
        stop.accept(FEATURES);
        assert_eq!(stop.verdict(0, FEATURES, |_| at(7)), Verdict::Pause);
        stop.accept(0b100);
        let end = Verdict::End(Some(0b100));
        assert_eq!(stop.verdict(0, FEATURES, |_| at(7)), end);
    }

    #[test]
    fn a_queue_that_nobody_used_goes_on_with_the_others() {
        let mut stop = stopped([7, 0]);
        stop.go_on(0);
        assert_eq!(stop.verdict(1, FEATURES, |_| at(0)), Verdict::Pause);
        stop.stop(0, at(0));
        assert_eq!(stop.verdict(1, FEATURES, |_| at(0)), Verdict::End(None));
    }

    #[test]
    fn a_pause_is_over_when_all_queues_go_on() {
        let mut stop = stopped([7, 3]);
        assert!(stop.has(0) && stop.has(1) && !stop.has(2));
        assert!(!stop.go_on(0));
        assert!(!stop.has(0));
        let verdict = stop.verdict(1, FEATURES, |_| at(3));
        assert_eq!(verdict, Verdict::Pause);
        assert!(stop.go_on(1));
    }
}
