use super::*;
use crate::sys::page::page_size;

#[test]
fn has_its_size_and_the_seals_that_udmabuf_needs() {
    let memfd = Memfd::create("seals", 3 * page_size(), Options::default()).unwrap();
    assert_eq!(memfd.size().unwrap(), 3 * page_size());
    assert_eq!(memfd.name(), "seals");
    let seals = sys::fd::seals(memfd.quietly()).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
    assert!(!seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE));
}

#[test]
fn neither_shrinks_nor_grows_by_default() {
    let memfd = Memfd::create("fixed", 2 * page_size(), Options::default()).unwrap();
    for size in [page_size(), 4 * page_size()] {
        assert_eq!(memfd.grow(size).unwrap_err().errno(), Some(libc::EPERM));
    }
}

#[test]
fn grows_when_allowed_but_never_shrinks() {
    let options = Options {
        allow_grow: true,
        ..Options::default()
    };
    let memfd = Memfd::create("growing", page_size(), options).unwrap();
    memfd.grow(4 * page_size()).unwrap();
    assert_eq!(memfd.size().unwrap(), 4 * page_size());
    let shrunk = memfd.grow(page_size()).unwrap_err();
    assert_eq!(shrunk.errno(), Some(libc::EPERM));
}

#[test]
fn refuses_what_makes_no_sense() {
    let create = |name, size| Memfd::create(name, size, Options::default());
    assert!(matches!(create("x", 0), Err(Error::Empty { .. })));
    assert!(matches!(create("x", 100), Err(Error::Misaligned { .. })));
    assert!(matches!(
        create("a\0b", page_size()),
        Err(Error::BadName { .. })
    ));
    let long = "n".repeat(250);
    assert!(matches!(
        create(&long, page_size()),
        Err(Error::BadName { .. })
    ));
}

#[test]
fn holes_are_checked_before_the_kernel_sees_them() {
    let memfd = Memfd::create("hole", 2 * page_size(), Options::default()).unwrap();
    let page = page_size();
    assert!(matches!(memfd.punch_hole(0, 0), Err(Error::Empty { .. })));
    assert!(matches!(
        memfd.punch_hole(1, page),
        Err(Error::Misaligned { .. })
    ));
    let past = memfd.punch_hole(page, 2 * page);
    assert!(matches!(past, Err(Error::OutOfBounds { .. })));
    memfd.punch_hole(0, page).unwrap();
}

#[test]
fn notices_that_its_descriptor_was_borrowed() {
    let memfd = Memfd::create("seen", page_size(), Options::default()).unwrap();
    memfd.identity().unwrap();
    assert!(memfd.is_secluded());
    let _ = memfd.as_fd();
    assert!(!memfd.is_secluded());
}

#[test]
fn memory_of_a_node_is_for_nodes_that_have_some() {
    let create = |node| {
        let options = Options {
            node: Some(node),
            ..Options::default()
        };
        Memfd::create("node", 2 * page_size(), options)
    };
    match create(0) {
        Ok(memfd) => assert_eq!(memfd.size().unwrap(), 2 * page_size()),
        // A kernel without NUMA, or a sandbox that forbids to choose.
        Err(error) => {
            let errno = error.errno();
            assert!(matches!(errno, Some(libc::ENOSYS | libc::EPERM)), "{error}");
            eprintln!("skipped: {error}: {errno:?}");
            return;
        }
    }
    // The last that a mask has, and what no mask has.
    for node in [4095, 4096, u32::MAX] {
        let error = create(node).unwrap_err();
        assert!(matches!(error, Error::NoNode { node: it } if it == node));
        let want = format!("NUMA node {node} has no memory for this process");
        assert_eq!(error.to_string(), want);
    }
}
