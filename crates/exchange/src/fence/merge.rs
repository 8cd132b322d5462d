//! Many fences as one.

use std::sync::Arc;

use crate::fence::{Fence, FenceSignaller, Outcome};
use crate::sync::{Mutex, PoisonError};

struct Rest {
    pending: usize,
    all: Outcome,
    signaller: Option<FenceSignaller>,
}

impl Fence {
    /// A fence that is signalled when all of `fences` are: failed when any of
    /// them failed, and done at once when there are none.
    pub fn merge(label: impl Into<String>, fences: &[Self]) -> Self {
        let (merged, signaller) = Self::new(label);
        let rest = Arc::new(Mutex::new(Rest {
            // One for this function, so that the last fence is not the last
            // before all were asked.
            pending: fences.len() + 1,
            all: Outcome::Done,
            signaller: Some(signaller),
        }));
        for fence in fences {
            let rest = Arc::clone(&rest);
            fence.on_signal(move |outcome| one_less(&rest, outcome));
        }
        one_less(&rest, Outcome::Done);
        merged
    }
}

fn one_less(rest: &Mutex<Rest>, outcome: Outcome) {
    let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
    rest.pending -= 1;
    if outcome == Outcome::Failed {
        rest.all = Outcome::Failed;
    }
    if rest.pending > 0 {
        return;
    }
    let (signaller, all) = (rest.signaller.take(), rest.all);
    drop(rest);
    if let Some(signaller) = signaller {
        signaller.signal(all);
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_one_decides_when_and_any_one_how() {
        let (first, first_ends) = Fence::new("first");
        let (second, second_ends) = Fence::new("second");
        let merged = Fence::merge("both", &[first.clone(), second, first]);
        first_ends.signal(Outcome::Failed);
        assert_eq!(merged.outcome(), None);
        second_ends.signal(Outcome::Done);
        assert_eq!(merged.wait(Duration::ZERO), Some(Outcome::Failed));
    }

    #[test]
    fn none_at_all_are_done() {
        assert_eq!(Fence::merge("none", &[]).outcome(), Some(Outcome::Done));
    }
}
