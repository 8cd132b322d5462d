#![expect(unsafe_code, reason = "reads addresses as foreign code would")]

use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::fs::MemfdFlags;

use super::*;
use crate::mapping::Piece;
use crate::memfd::{Memfd, Options};
use crate::page_size;

const LIMIT: Duration = Duration::from_secs(1);

/// Memory without a driver: no kernel to tell.
fn plain(memfd: &impl AsFd) -> Bracketed {
    let size = rustix::fs::fstat(memfd).unwrap().st_size.cast_unsigned();
    let piece = Piece::new(memfd, 0, size).trusting_owner();
    let mapping = Mapping::of(&piece, Access::ReadWrite).unwrap();
    Bracketed::plain(mapping).unwrap()
}

fn pages(count: u64) -> Memfd {
    Memfd::create("bracketed", count * page_size(), Options::default()).unwrap()
}

/// Whether the kernel can read a byte there, which is no crash if it can't.
fn readable(address: *const u8) -> bool {
    let (_far, near) = rustix::pipe::pipe().unwrap();
    // SAFETY: the kernel reads a byte or answers EFAULT.
    unsafe { libc::write(near.as_raw_fd(), address.cast(), 1) == 1 }
}

#[test]
fn a_bracket_leads_to_its_range_in_its_direction() {
    let memory = plain(&pages(2));
    let bracket = memory.access(Direction::Write, 8..16, LIMIT).unwrap();
    assert_eq!(bracket.view().len(), 8);
    bracket.view().write_at(0, 7u8).unwrap();
    bracket.end().unwrap();
    let bracket = memory.read(LIMIT).unwrap();
    assert_eq!(bracket.view().read_at::<u8>(8).unwrap(), 7);
    let refused = bracket.view().write_at(8, 1u8);
    assert!(matches!(refused, Err(Error::ReadOnly)));
    bracket.end().unwrap();
    let past = memory.access(Direction::Read, 0..memory.len() + 1, LIMIT);
    assert!(matches!(past, Err(Error::OutOfBounds { .. })));
    assert_eq!(memory.counters().open(), 0);
}

/// A memfd in the place of a dma-buf is always ready, and refuses what is told
/// of starts and ends: so it shows whether they are told.
#[test]
fn starts_and_ends_are_told_to_the_kernel() {
    let memfd = pages(1);
    let mapping = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let buffer = DmaBuf::adopt(memfd.into(), false);
    let memory = Bracketed::new(mapping, Some(Arc::new(buffer))).unwrap();
    for direction in [Direction::Read, Direction::Write, Direction::ReadWrite] {
        let start = memory.access(direction, 0..1, LIMIT).unwrap_err();
        assert_eq!(start.errno(), Some(libc::ENOTTY), "{start}");
        let end = Edges::end(&memory, direction).unwrap_err();
        assert_eq!(end.errno(), Some(libc::ENOTTY), "{end}");
    }
    assert_eq!(memory.counters(), Counters::default());
}

#[test]
fn a_bracket_that_was_closed_leads_nowhere() {
    let memory = plain(&pages(1));
    let mut bracket = memory.write(LIMIT).unwrap();
    bracket.close().unwrap();
    assert!(bracket.view().is_empty());
    bracket.close().unwrap();
    drop(bracket);
    let counters = memory.counters();
    assert_eq!((counters.ended, counters.dropped), (1, 0));
}

#[test]
fn a_bracket_can_keep_its_mapping() {
    let memory = Arc::new(plain(&pages(1)));
    let bracket = memory.keep_access(Direction::Write, 8..16, None).unwrap();
    let watch = Arc::downgrade(&memory);
    drop(memory);
    bracket.view().write_at(0, 7u8).unwrap();
    bracket.end().unwrap();
    assert!(watch.upgrade().is_none());
}

#[test]
fn a_panic_ends_the_access() {
    let memory = plain(&pages(1)).poisoned().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let bracket = memory.write(LIMIT).unwrap();
        bracket.view().write_at(0, 1u8).unwrap();
        panic!("while drawing");
    }));
    assert!(panicked.is_err());
    let counters = memory.counters();
    assert_eq!((counters.open(), counters.dropped), (0, 1));
}

#[test]
fn a_bracket_that_is_forgotten_shows() {
    let memory = plain(&pages(1));
    std::mem::forget(memory.read(LIMIT).unwrap());
    assert_eq!(memory.counters().open(), 1);
}

#[test]
fn poison_forbids_what_no_bracket_allows() {
    let memory = plain(&pages(1)).poisoned().unwrap();
    let bracket = memory.read(LIMIT).unwrap();
    let kept = bracket.as_ptr();
    assert!(readable(kept));
    let nested = memory.write(LIMIT).unwrap();
    nested.view().write_at(0, 3u8).unwrap();
    nested.end().unwrap();
    assert!(readable(kept), "the outer bracket is open");
    bracket.end().unwrap();
    assert!(!readable(kept), "an address outlived its bracket");
    let again = memory.read(LIMIT).unwrap();
    assert_eq!(again.view().read_at::<u8>(0).unwrap(), 3);
}

#[test]
fn memory_that_goes_away_is_an_error_and_zeros() {
    let memfd = rustix::fs::memfd_create("shrinks", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memfd, 4 * page_size()).unwrap();
    let (memory, other) = (plain(&memfd), plain(&pages(1)));
    let bracket = memory.write(LIMIT).unwrap();
    bracket.view().fill(0, memory.len(), 9).unwrap();
    rustix::fs::ftruncate(&memfd, page_size()).unwrap();
    let past_the_end = 2 * usize::try_from(page_size()).unwrap();
    assert_eq!(bracket.view().read_at::<u8>(past_the_end).unwrap(), 0);
    bracket.view().write_at(past_the_end, 1u8).unwrap();
    assert!(matches!(bracket.end(), Err(Error::Gone)));
    assert!(memory.is_gone());
    assert!(matches!(memory.read(LIMIT), Err(Error::Gone)));
    assert!(!other.is_gone());
    other.read(LIMIT).unwrap().end().unwrap();
}

#[test]
fn many_mappings_can_be_watched_and_let_go() {
    let memfd = pages(1);
    for _ in 0..3 {
        let all: Vec<_> = (0..150).map(|_| plain(&memfd)).collect();
        for memory in &all {
            memory.read(LIMIT).unwrap().end().unwrap();
        }
    }
}
