use std::cell::{Cell, RefCell};

use proptest::prelude::*;

use super::*;

/// Memory as a CPU with a cache of its own and a device see it, neither
/// coherent with the other: what brackets are for. `forgets_start` and
/// `forgets_end` are the two mutations of ours that must not go unseen.
#[derive(Default)]
struct Incoherent {
    cache: Cell<u8>,
    memory: Cell<u8>,
    forgets_start: bool,
    forgets_end: bool,
}

impl Edges for Incoherent {
    fn start(&self, direction: Direction) -> Result<()> {
        if direction.reads() && !self.forgets_start {
            self.cache.set(self.memory.get());
        }
        Ok(())
    }

    fn end(&self, direction: Direction) -> Result<()> {
        if direction.writes() && !self.forgets_end {
            self.memory.set(self.cache.get());
        }
        Ok(())
    }

    fn allow(&self, _: Option<Access>) -> Result<()> {
        Ok(())
    }
}

/// Begins, with nobody else about.
fn enters(counts: &Mutex<Counts>, edges: &impl Edges, direction: Direction) -> Result<()> {
    begin(counts, &Mutex::default(), edges, direction)
}

/// A device and the CPU take turns: whether each sees what the other wrote.
fn take_turns(memory: &Incoherent) -> bool {
    let counts: Mutex<Counts> = Mutex::default();
    for turn in 0..8u8 {
        memory.memory.set(turn);
        enters(&counts, memory, Direction::ReadWrite).unwrap();
        if memory.cache.get() != turn {
            return false;
        }
        memory.cache.set(turn + 100);
        counts
            .lock()
            .unwrap()
            .end(memory, Direction::ReadWrite)
            .unwrap();
        if memory.memory.get() != turn + 100 {
            return false;
        }
    }
    true
}

#[test]
fn a_dropped_start_or_end_shows_stale_bytes() {
    assert!(take_turns(&Incoherent::default()));
    let no_start = Incoherent {
        forgets_start: true,
        ..Incoherent::default()
    };
    assert!(!take_turns(&no_start), "nobody missed the start");
    let no_end = Incoherent {
        forgets_end: true,
        ..Incoherent::default()
    };
    assert!(!take_turns(&no_end), "nobody missed the end");
}

#[test]
fn brackets_within_a_writers_neither_lose_nor_flush_its_bytes() {
    let memory = Incoherent::default();
    let counts: Mutex<Counts> = Mutex::default();
    enters(&counts, &memory, Direction::Write).unwrap();
    memory.cache.set(1);
    enters(&counts, &memory, Direction::ReadWrite).unwrap();
    assert_eq!(memory.cache.get(), 1, "a start threw away what was written");
    let end = |direction| counts.lock().unwrap().end(&memory, direction).unwrap();
    end(Direction::ReadWrite);
    assert_eq!(memory.memory.get(), 0, "the outer bracket has not ended");
    end(Direction::Write);
    assert_eq!(memory.memory.get(), 1);
}

/// Writes down what the kernel is told, and fails when it is told to.
#[derive(Default)]
struct Told {
    calls: RefCell<Vec<&'static str>>,
    allowed: Cell<Option<Access>>,
    fails: Cell<bool>,
}

impl Told {
    fn say(&self, call: &'static str) -> Result<()> {
        self.calls.borrow_mut().push(call);
        match self.fails.get() {
            true => Err(Error::sys(
                "SYNC",
                std::io::Error::from_raw_os_error(libc::EIO),
            )),
            false => Ok(()),
        }
    }
}

impl Edges for Told {
    fn start(&self, direction: Direction) -> Result<()> {
        self.say(match direction {
            Direction::Read => "start r",
            Direction::Write => "start w",
            Direction::ReadWrite => "start rw",
        })
    }

    fn end(&self, direction: Direction) -> Result<()> {
        self.say(match direction {
            Direction::Read => "end r",
            Direction::Write => "end w",
            Direction::ReadWrite => "end rw",
        })
    }

    fn allow(&self, access: Option<Access>) -> Result<()> {
        self.allowed.set(access);
        Ok(())
    }
}

#[test]
fn the_last_of_each_direction_ends_it() {
    let told = Told::default();
    let counts: Mutex<Counts> = Mutex::default();
    let end = |direction| counts.lock().unwrap().end(&told, direction).unwrap();
    enters(&counts, &told, Direction::ReadWrite).unwrap();
    enters(&counts, &told, Direction::Read).unwrap();
    assert_eq!(told.allowed.get(), Some(Access::ReadWrite));
    end(Direction::ReadWrite);
    assert_eq!(told.allowed.get(), Some(Access::ReadOnly));
    end(Direction::Read);
    assert_eq!(told.allowed.get(), None);
    let calls = ["start rw", "end w", "end r"];
    assert_eq!(told.calls.borrow().as_slice(), calls);
}

#[test]
fn a_start_that_fails_is_no_bracket_and_needs_no_end() {
    let told = Told::default();
    let counts: Mutex<Counts> = Mutex::default();
    told.fails.set(true);
    enters(&counts, &told, Direction::Write).unwrap_err();
    assert_eq!(told.calls.borrow().as_slice(), ["start rw"]);
    assert_eq!(told.allowed.get(), None);
    assert_eq!(counts.lock().unwrap().counters(), Counters::default());
}

#[test]
fn an_end_that_somebody_leaves_to_a_failing_start_is_told_all_the_same() {
    let told = Told::default();
    let counts: Mutex<Counts> = Mutex::default();
    enters(&counts, &told, Direction::Read).unwrap();
    // Another begins, and before its start has failed, the first ends.
    counts
        .lock()
        .unwrap()
        .enter(&told, Direction::Read)
        .unwrap();
    counts.lock().unwrap().end(&told, Direction::Read).unwrap();
    assert_eq!(told.calls.borrow().as_slice(), ["start r"]);
    counts
        .lock()
        .unwrap()
        .leave(&told, Direction::Read)
        .unwrap();
    assert_eq!(told.calls.borrow().as_slice(), ["start r", "end r"]);
}

#[test]
fn the_error_of_a_dropped_bracket_meets_the_next() {
    let told = Told::default();
    let counts: Mutex<Counts> = Mutex::default();
    enters(&counts, &told, Direction::Write).unwrap();
    told.fails.set(true);
    counts.lock().unwrap().end_dropped(&told, Direction::Write);
    told.fails.set(false);
    let met = enters(&counts, &told, Direction::Read).unwrap_err();
    assert_eq!(met.errno(), Some(libc::EIO));
    enters(&counts, &told, Direction::Read).unwrap();
    let counters = counts.lock().unwrap().counters();
    assert_eq!(
        (counters.dropped, counters.failed, counters.open()),
        (1, 1, 1)
    );
    assert_eq!(
        counters.to_string(),
        "2 begun, 1 ended (1 dropped, 1 failed), 1 open"
    );
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        Just(Direction::Read),
        Just(Direction::Write),
        Just(Direction::ReadWrite)
    ]
}

proptest! {
    /// However brackets nest, a direction that is over has been ended, and one
    /// that is open has been started since.
    #[test]
    fn nesting_leaves_nothing_open(steps in prop::collection::vec((any_direction(), any::<bool>()), 1..40)) {
        let told = Told::default();
        let counts: Mutex<Counts> = Mutex::default();
        let mut open: Vec<Direction> = Vec::new();
        for (direction, begins) in steps {
            if begins {
                enters(&counts, &told, direction).unwrap();
                open.push(direction);
            } else if let Some(at) = open.iter().position(|one| *one == direction) {
                open.swap_remove(at);
                counts.lock().unwrap().end(&told, direction).unwrap();
            }
            for (letter, is_open) in [
                ('r', !open.is_empty()),
                ('w', open.iter().any(|one| one.writes())),
            ] {
                let calls = told.calls.borrow();
                let about = |call: &&&str| call.split(' ').nth(1).is_some_and(|letters| letters.contains(letter));
                let last = calls.iter().rev().find(about);
                prop_assert_eq!(last.is_some_and(|call| call.starts_with("start")), is_open);
            }
            let writes = open.iter().any(|one| one.writes());
            prop_assert_eq!(told.allowed.get() == Some(Access::ReadWrite), writes);
            prop_assert_eq!(told.allowed.get().is_none(), open.is_empty());
        }
        prop_assert_eq!(counts.lock().unwrap().counters().open(), open.len() as u64);
    }
}
