use super::*;
use crate::memfd::{Memfd, Options};
use proptest::prelude::*;

fn memory(pages: u64) -> Memfd {
    Memfd::create("mapping test", pages * page_size(), Options::default()).unwrap()
}

fn page() -> usize {
    usize::try_from(page_size()).unwrap()
}

#[test]
fn two_mappings_show_the_same_bytes() {
    let memfd = memory(2);
    let one = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let two = Mapping::whole(&memfd, Access::ReadOnly).unwrap();
    one.view().copy_from(page(), b"landbridge").unwrap();
    let mut seen = [0; 10];
    two.view().copy_to(page(), &mut seen).unwrap();
    assert_eq!(&seen, b"landbridge");
}

#[test]
fn a_part_starts_and_ends_where_it_was_asked_to() {
    let memfd = memory(3);
    let whole = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let offset = page() + 100;
    let part = Mapping::new(&memfd, offset as u64, page_size(), Access::ReadWrite).unwrap();
    assert_eq!(part.len(), page());
    whole.view().write_at(offset, 7u8).unwrap();
    whole.view().write_at(offset + page() - 1, 9u8).unwrap();
    assert_eq!(part.view().read_at::<u8>(0).unwrap(), 7);
    assert_eq!(part.view().read_at::<u8>(page() - 1).unwrap(), 9);
    let past = part.view().read_at::<u8>(page());
    assert!(matches!(past, Err(Error::OutOfBounds { .. })));
}

#[test]
fn the_first_part_of_a_mapping_shows_no_more() {
    let whole = Mapping::whole(&memory(2), Access::ReadWrite).unwrap();
    let part = whole.first(page() + 1).unwrap();
    assert_eq!(part.len(), page() + 1);
    part.view().write_at(page(), 7u8).unwrap();
    part.view().write_at(page() + 1, 7u8).unwrap_err();
    assert!(matches!(
        part.first(2 * page()),
        Err(Error::OutOfBounds { .. })
    ));
}

#[test]
fn memory_that_may_shrink_is_refused_unless_its_owner_is_trusted() {
    let file = rustix::fs::memfd_create("shrinkable", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, page_size()).unwrap();
    let piece = Piece::new(&file, 0, page_size());
    let refused = Mapping::of(&piece, Access::ReadWrite);
    assert!(matches!(refused, Err(Error::CanShrink)));
    let trusted = Mapping::of(&piece.trusting_owner(), Access::ReadWrite).unwrap();
    trusted.view().write_at(0, 1u64).unwrap();
}

#[test]
fn nothing_is_mapped_past_the_end_not_even_on_trust() {
    let memfd = memory(2);
    for (offset, len) in [(page_size(), 2 * page_size()), (0, u64::MAX), (u64::MAX, 2)] {
        let piece = Piece::new(&memfd, offset, len).trusting_owner();
        let refused = Mapping::of(&piece, Access::ReadOnly);
        assert!(matches!(refused, Err(Error::OutOfBounds { .. })));
    }
    let empty = Mapping::new(&memfd, 0, 0, Access::ReadOnly);
    assert!(matches!(empty, Err(Error::Empty { .. })));
}

#[test]
fn writing_through_a_read_only_mapping_is_an_error_not_a_crash() {
    let memfd = memory(1);
    let mapping = Mapping::whole(&memfd, Access::ReadOnly).unwrap();
    let view = mapping.view();
    assert!(matches!(view.write_at(0, 1u8), Err(Error::ReadOnly)));
    assert!(matches!(view.copy_from(0, &[1]), Err(Error::ReadOnly)));
    assert!(matches!(view.fill(0, 1, 1), Err(Error::ReadOnly)));
    assert!(matches!(view.copy_from_view(0, view), Err(Error::ReadOnly)));
}

#[test]
fn stitching_refuses_what_is_not_whole_pages() {
    let memfd = memory(2);
    for (offset, len) in [(1, page_size()), (0, 100)] {
        let pieces = [Piece::new(&memfd, offset, len)];
        let refused = Mapping::stitch(&pieces, Access::ReadOnly);
        assert!(matches!(refused, Err(Error::Misaligned { .. })));
    }
    let none = Mapping::stitch(&[], Access::ReadOnly);
    assert!(matches!(none, Err(Error::Empty { .. })));
}

#[test]
fn cutting_severs_both_ways_and_keeps_the_addresses() {
    let memfd = memory(2);
    let kept = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let cut = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    kept.view().fill(0, 2 * page(), 0x55).unwrap();
    let view = cut.view();
    cut.cut().unwrap();
    assert!(matches!(view.read_at::<u64>(page()), Err(Error::Revoked)));
    let refused = [
        view.write_at(1, 0xaa_u32),
        view.fill(0, 2 * page(), 0xaa),
        view.copy_to(0, &mut [0; 9]),
        view.copy_from(0, &[0xaa; 9]),
        view.copy_from_view(0, kept.view()),
        kept.view().copy_from_view(0, view.sub(0, 0).unwrap()),
    ];
    for result in refused {
        assert!(matches!(result, Err(Error::Revoked)), "{result:?}");
    }
    assert!(cut.is_cut() && !kept.is_cut());
    assert_eq!(kept.view().read_at::<u8>(0).unwrap(), 0x55);
}

#[test]
fn cutting_while_another_thread_writes_crashes_nobody() {
    let memfd = memory(16);
    let kept = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    for _ in 0..50 {
        let mapping = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    // Refused from the cut on, and harmless.
                    let _ = mapping.view().fill(0, mapping.len(), 1);
                }
            });
            mapping.cut().unwrap();
            // Whatever the other thread still writes must not arrive.
            kept.view().fill(0, kept.len(), 2).unwrap();
            std::thread::yield_now();
            let mut bytes = vec![0; kept.len()];
            kept.view().copy_to(0, &mut bytes).unwrap();
            stop.store(true, std::sync::atomic::Ordering::Release);
            assert!(bytes.iter().all(|&byte| byte == 2));
        });
    }
}

/// What makes revoked memory an error: no read that met the zero pages is told
/// to have met the memory.
#[test]
fn a_reader_never_takes_the_zero_pages_for_the_memory() {
    let memfd = memory(1);
    let kept = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    kept.view().fill(0, page(), 0x55).unwrap();
    let (mut real, mut refused) = (0_u64, 0_u64);
    for _ in 0..300 {
        let mapping = Mapping::whole(&memfd, Access::ReadOnly).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut real, mut at) = (0_u64, 0);
                loop {
                    match mapping.view().read_at::<u64>(at) {
                        Ok(bytes) => assert_eq!(bytes, 0x5555_5555_5555_5555),
                        Err(Error::Revoked) => return real,
                        Err(error) => panic!("{error}"),
                    }
                    real += 1;
                    at = (at + 8) % page();
                }
            });
            std::thread::yield_now();
            mapping.cut().unwrap();
            real += reader.join().unwrap();
            refused += 1;
        });
    }
    assert!(real > 0 && refused == 300);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A stitched mapping shows exactly the pages of its pieces, in order, and
    /// a write through it lands in the right page.
    #[test]
    fn stitching_shows_the_pieces_in_order(
        parts in prop::collection::vec((0u64..6, 1u64..3, any::<bool>()), 1..12)
    ) {
        let memfds = [memory(8), memory(8)];
        let sources = memfds.each_ref().map(|m| Mapping::whole(m, Access::ReadWrite).unwrap());
        for (which, source) in sources.iter().enumerate() {
            for at in 0..8 {
                let mark = (which * 8 + at) as u64;
                source.view().write_at(at * page(), mark).unwrap();
            }
        }
        let pieces: Vec<_> = parts.iter().map(|&(first, count, second)| {
            let memfd = &memfds[usize::from(second)];
            Piece::new(memfd, first * page_size(), count * page_size())
        }).collect();
        let stitched = Mapping::stitch(&pieces, Access::ReadWrite).unwrap();
        let expected: Vec<u64> = parts.iter().flat_map(|&(first, count, second)| {
            (first..first + count).map(move |at| u64::from(second) * 8 + at)
        }).collect();
        prop_assert_eq!(stitched.len(), expected.len() * page());
        for (at, &mark) in expected.iter().enumerate() {
            prop_assert_eq!(stitched.view().read_at::<u64>(at * page()).unwrap(), mark);
            stitched.view().write_at(at * page() + 8, mark + 100).unwrap();
            let (which, source_page) = ((mark / 8) as usize, (mark % 8) as usize);
            let landed: u64 = sources[which].view().read_at(source_page * page() + 8).unwrap();
            prop_assert_eq!(landed, mark + 100);
        }
    }
}
