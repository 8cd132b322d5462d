use super::*;
use crate::memfd::Options;
use crate::sys::page::page_size;
use proptest::prelude::*;

fn memory(pages: u64) -> Memfd {
    Memfd::create("udmabuf test", pages * page_size(), Options::default()).unwrap()
}

fn item(memfd: &Memfd, first: u64, pages: u64) -> Item<'_> {
    Item {
        fd: memfd.as_fd(),
        offset: first * page_size(),
        len: pages * page_size(),
    }
}

#[test]
fn neighbours_merge_and_strangers_do_not() {
    let (one, two) = (memory(8), memory(8));
    let items = [
        item(&one, 0, 1),
        item(&one, 1, 2),
        item(&two, 3, 1),
        item(&two, 2, 1),
        item(&one, 3, 1),
    ];
    let merged = merge(&items).unwrap();
    let lens: Vec<_> = merged.iter().map(|i| i.len / page_size()).collect();
    assert_eq!(lens, [3, 1, 1, 1]);
}

#[test]
fn a_list_at_the_limits_passes_and_one_past_them_does_not() {
    let memfd = memory(8);
    let limits = Limits {
        items: 2,
        bytes: 2 * page_size(),
    };
    let items = [item(&memfd, 0, 1), item(&memfd, 2, 1), item(&memfd, 4, 1)];
    check(&items[..2], limits).unwrap();
    assert!(matches!(
        check(&items, limits),
        Err(Error::OverLimit { .. })
    ));
    let large = [item(&memfd, 0, 3)];
    assert!(matches!(
        check(&large, limits),
        Err(Error::OverLimit { .. })
    ));
}

#[test]
fn each_mistake_has_its_own_error() {
    let memfd = memory(2);
    let with = |offset, len| {
        let fd = memfd.as_fd();
        check(&[Item { fd, offset, len }], Limits::default()).unwrap_err()
    };
    let page = page_size();
    assert!(matches!(with(0, 0), Error::Empty { .. }));
    assert!(matches!(with(1, page), Error::Misaligned { .. }));
    assert!(matches!(with(0, page + 1), Error::Misaligned { .. }));
    assert!(matches!(with(page, 2 * page), Error::OutOfBounds { .. }));
    assert!(matches!(
        check(&[], Limits::default()),
        Err(Error::Empty { .. })
    ));
}

#[test]
fn memory_that_the_kernel_would_refuse_is_named() {
    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("unsealed", flags).unwrap();
    rustix::fs::ftruncate(&fd, page_size()).unwrap();
    let reason = || {
        let item = Item {
            fd: fd.as_fd(),
            offset: 0,
            len: page_size(),
        };
        check_item(&item).unwrap_err().to_string()
    };
    assert!(reason().contains("not sealed against shrinking"));
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::WRITE).unwrap();
    assert!(reason().contains("sealed against writing"));
}

#[test]
fn limits_fall_back_to_the_kernels_defaults() {
    let limits = Limits::read_from(Path::new("/nonexistent"));
    assert_eq!(limits, Limits::default());
    assert_eq!((limits.items, limits.bytes), (1024, 67_108_864));
}

proptest! {
    /// Merging never changes which bytes follow which.
    #[test]
    fn merging_keeps_every_page_in_place(
        ranges in prop::collection::vec((0u64..6, 1u64..3, any::<bool>()), 1..24)
    ) {
        let memfds = [memory(8), memory(8)];
        let pages = |items: &[Item<'_>]| -> Vec<(i32, u64)> {
            items.iter().flat_map(|i| {
                let (fd, first) = (i.fd.as_raw_fd(), i.offset / page_size());
                (first..first + i.len / page_size()).map(move |page| (fd, page))
            }).collect()
        };
        let items: Vec<_> = ranges.iter()
            .map(|&(first, count, second)| item(&memfds[usize::from(second)], first, count))
            .collect();
        let merged = merge(&items).unwrap();
        prop_assert_eq!(pages(&items), pages(&merged));
        for pair in merged.windows(2) {
            let joined = pair[0].fd.as_raw_fd() == pair[1].fd.as_raw_fd()
                && pair[0].offset + pair[0].len == pair[1].offset;
            prop_assert!(!joined, "two neighbours were left apart");
        }
    }
}
