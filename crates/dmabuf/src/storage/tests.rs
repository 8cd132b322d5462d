#![expect(unsafe_code, reason = "proves that a loan which nobody used is over")]

use super::*;
use crate::memfd::Options;
use crate::sys::page::page_size;
use proptest::prelude::*;
use std::os::fd::AsFd;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(1);

fn storage() -> Storage {
    let memfd = Memfd::create("storage test", 2 * page_size(), Options::default()).unwrap();
    Storage::from_memfd(memfd).unwrap()
}

fn let_go() -> LetGo {
    // SAFETY: the tests that call this neither duplicate the loan's descriptor
    // nor map it, or have dropped what they made.
    unsafe { LetGo::assert() }
}

fn in_use<T: std::fmt::Debug>(result: Result<T>) -> Holders {
    match result {
        Err(Error::InUse { holders }) => holders,
        other => panic!("expected InUse, got {other:?}"),
    }
}

#[test]
fn what_is_written_exclusively_is_seen_shared_and_the_reverse() {
    let storage = storage();
    let mut exclusive = storage.exclusive(None).unwrap();
    assert_eq!(exclusive.len() as u64, storage.size());
    exclusive[page_size() as usize] = 42;
    exclusive.finish().unwrap();
    let shared = storage.map(Access::ReadWrite).unwrap();
    let at = page_size() as usize;
    let bracket = shared.write(LIMIT).unwrap();
    assert_eq!(bracket.view().read_at::<u8>(at).unwrap(), 42);
    bracket.view().write_at(at, 43u8).unwrap();
    bracket.end().unwrap();
    drop(shared);
    assert_eq!(storage.exclusive(None).unwrap()[at], 43);
}

#[test]
fn nothing_is_lent_or_mapped_while_it_is_exclusive() {
    let storage = storage();
    let exclusive = storage.clone().exclusive(None).unwrap();
    assert!(in_use(storage.lend()).exclusive);
    assert!(in_use(storage.map(Access::ReadOnly)).exclusive);
    assert!(in_use(storage.exclusive(None)).exclusive);
    drop(exclusive);
    assert!(storage.holders().is_none());
    let _loan = storage.lend().unwrap();
}

#[test]
fn a_loan_ends_with_proof_only() {
    let storage = storage();
    let loan = storage.lend().unwrap();
    assert_eq!(in_use(storage.exclusive(None)).loans, 1);
    loan.returned(let_go());
    drop(storage.exclusive(None).unwrap());
    drop(storage.lend().unwrap());
    assert_eq!(in_use(storage.exclusive(None)).lost_loans, 1);
}

#[test]
fn a_loan_reaches_the_memory_after_the_storage_is_gone() {
    let storage = storage();
    storage.exclusive(None).unwrap()[0] = 1;
    let loan = storage.lend().unwrap();
    drop(storage);
    let mapping = Mapping::whole(&loan, Access::ReadOnly).unwrap();
    assert_eq!(mapping.view().read_at::<u8>(0).unwrap(), 1);
}

#[test]
fn what_is_severed_is_out_of_everybodys_reach() {
    let storage = storage();
    let loan = storage.lend().unwrap();
    let theirs = Mapping::whole(&loan, Access::ReadWrite).unwrap();
    theirs.view().write_at(0, 7u8).unwrap();
    storage.sever().unwrap();
    assert_eq!(theirs.view().read_at::<u8>(0).unwrap(), 0);
    drop(theirs);
    loan.returned(let_go());
    let exclusive = storage.exclusive(None).unwrap();
    assert!(in_use(storage.sever()).exclusive);
    drop(exclusive);
}

#[test]
fn a_mapping_that_was_cut_holds_nobody_up() {
    let storage = storage();
    let shared = storage.map(Access::ReadWrite).unwrap();
    assert_eq!(in_use(storage.exclusive(None)).mappings, 1);
    let bracket = shared.write(LIMIT).unwrap();
    shared.cut().unwrap();
    shared.cut().unwrap();
    let mut exclusive = storage.exclusive(None).unwrap();
    exclusive[0] = 1;
    bracket.view().write_at(0, 2u8).unwrap_err();
    assert!(matches!(bracket.end(), Err(Error::Revoked)));
    assert!(matches!(shared.read(LIMIT), Err(Error::Revoked)));
    assert!(shared.is_cut());
    drop(shared);
    assert_eq!(exclusive[0], 1, "the cut mapping still reached the memory");
    assert!(storage.holders().exclusive);
}

#[test]
fn memory_that_somebody_could_have_reached_is_never_exclusive() {
    let memfd = Memfd::create("seen", page_size(), Options::default()).unwrap();
    let mapping = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let storage = Storage::from_memfd(memfd).unwrap();
    assert!(!storage.can_be_exclusive());
    drop(mapping);
    assert!(matches!(storage.exclusive(None), Err(Error::Foreign)));
    assert!(storage.map(Access::ReadWrite).is_ok());
}

#[test]
fn exclusive_use_again_and_again_maps_once() {
    let storage = storage();
    let first = storage.exclusive(None).unwrap().as_ptr();
    let again = storage.exclusive(None).unwrap().as_ptr();
    assert_eq!(first, again);
}

#[test]
fn says_what_it_is() {
    let storage = storage();
    assert_eq!(storage.kind(), Kind::Memfd);
    assert!(storage.dma_buf().is_none());
    let loan = storage.lend().unwrap();
    assert_eq!(Identity::of(loan.as_fd()).unwrap(), storage.identity());
    assert_eq!(
        storage.holders().to_string(),
        "1 loans, 0 lost loans, 0 mappings"
    );
}

#[test]
fn many_threads_never_share_what_one_has_exclusively() {
    let storage = storage();
    std::thread::scope(|scope| {
        for mark in 1..=4u8 {
            let storage = storage.clone();
            scope.spawn(move || {
                for _ in 0..500 {
                    if let Ok(mut bytes) = storage.exclusive(None) {
                        bytes.fill(mark);
                        assert!(bytes.iter().all(|&byte| byte == mark));
                    } else if let Ok(shared) = storage.map(Access::ReadOnly) {
                        let bracket = shared.read(LIMIT).unwrap();
                        let first: u8 = bracket.view().read_at(0).unwrap();
                        let last: u8 = bracket.view().read_at(page_size() as usize).unwrap();
                        assert_eq!(first, last, "somebody wrote while it was shared");
                    }
                }
            });
        }
    });
    assert!(storage.holders().is_none());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Lend,
    Return,
    Lose,
    Map,
    Cut,
    Unmap,
    Take,
    Release,
}

#[derive(Default)]
struct Taken {
    loans: Vec<Loan>,
    mappings: Vec<Bracketed>,
    cut: Vec<Bracketed>,
    exclusive: Option<Exclusive>,
    lost: u32,
}

impl Taken {
    fn holders(&self) -> Holders {
        Holders {
            loans: self.loans.len() as u32,
            lost_loans: self.lost,
            mappings: self.mappings.len() as u32,
            exclusive: self.exclusive.is_some(),
        }
    }

    fn apply(&mut self, storage: &Storage, step: Step) {
        let (shared, exclusive) = (self.holders().shares(), self.exclusive.is_some());
        match step {
            Step::Lend => match storage.lend() {
                Ok(loan) => self.loans.push(loan),
                Err(_) => assert!(exclusive),
            },
            Step::Map => match storage.map(Access::ReadWrite) {
                Ok(mapping) => self.mappings.push(mapping),
                Err(_) => assert!(exclusive),
            },
            Step::Take => match storage.exclusive(None) {
                Ok(bytes) => {
                    assert!(!shared && !exclusive, "exclusive while others hold it");
                    self.exclusive = Some(bytes);
                }
                Err(_) => assert!(shared || exclusive),
            },
            Step::Return => drop(self.loans.pop().map(|loan| loan.returned(let_go()))),
            Step::Lose => self.lost += u32::from(self.loans.pop().is_some()),
            Step::Unmap => drop(self.mappings.pop()),
            Step::Cut => self
                .cut
                .extend(self.mappings.pop().inspect(|m| m.cut().unwrap())),
            Step::Release => self.exclusive = None,
        }
    }
}

proptest! {
    /// Whatever is taken and given back in whatever order: the ledger is the
    /// truth, and exclusive means that nobody else has anything.
    #[test]
    fn the_ledger_is_the_truth(steps in prop::collection::vec(
        prop::sample::select(vec![
            Step::Lend, Step::Return, Step::Return, Step::Lose, Step::Map, Step::Cut,
            Step::Unmap, Step::Take, Step::Take, Step::Release,
        ]), 1..40)
    ) {
        let storage = storage();
        let mut taken = Taken::default();
        for step in steps {
            taken.apply(&storage, step);
            prop_assert_eq!(storage.holders(), taken.holders());
        }
    }
}

#[test]
fn a_loan_that_nobody_saw_ends_without_proof() {
    let storage = storage();
    storage.lend().unwrap().unused();
    assert!(storage.holders().is_none());
    let seen = storage.lend().unwrap();
    let _ = seen.as_fd();
    seen.unused();
    assert_eq!(storage.holders().lost_loans, 1);
}
