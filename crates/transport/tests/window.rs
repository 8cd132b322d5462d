//! The host-visible window: mapped by the device through its VMM, seen by the
//! guest and by the host.

mod echo;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use echo::{Echo, FILE, MAP, UNMAP, WINDOW, window_request};
use landbridge_dmabuf::{Memfd, memfd::Options};
use landbridge_exchange::importers::window::{MapperError, WindowMap, WindowMapper};
use landbridge_transport::guest::{Config, EmbeddedGuest};
use landbridge_transport::{Error, Link};

const PAGE: u64 = 4096;

fn ask(guest: &EmbeddedGuest, what: u8, offset: u64, len: u64) -> Result<(), String> {
    let answer = guest
        .request(0, &window_request(what, offset, len), 256)
        .unwrap();
    match answer.split_first() {
        Some((0, _)) => Ok(()),
        Some((_, error)) => Err(String::from_utf8(error.to_vec()).unwrap()),
        None => panic!("no answer"),
    }
}

#[test]
fn guest_and_host_see_each_others_bytes() {
    let (guest, device) = Echo::start(Config::default());
    let window = guest.window().unwrap();
    assert_eq!((window.region(), window.size()), (7, WINDOW));
    let host = device.host_view();
    assert!(window.read(0x3000, 1).is_err(), "nothing mapped yet");
    ask(&guest, MAP, 0x3000, FILE).unwrap();

    host.view().copy_from(100, b"from the host").unwrap();
    assert_eq!(window.read(0x3000 + 100, 13).unwrap(), b"from the host");
    window.write(0x3000 + FILE - 5, b"guest").unwrap();
    let mut bytes = [0; 5];
    host.view().copy_to(FILE as usize - 5, &mut bytes).unwrap();
    assert_eq!(&bytes, b"guest");

    let maps = window.maps();
    assert_eq!(maps.len(), 1);
    assert_eq!((maps[0].offset, maps[0].len), (0x3000, FILE));
    assert_eq!(maps[0].identity, device.identity());

    ask(&guest, UNMAP, 0x3000, FILE).unwrap();
    assert!(window.read(0x3000, 1).is_err());
    assert_eq!(window.maps(), []);
}

#[test]
fn what_would_harm_a_vmm_is_refused_and_nothing_changes() {
    let (guest, _device) = Echo::start(Config::default());
    ask(&guest, MAP, 0x10000, FILE).unwrap();
    for (what, offset, len) in [
        (MAP, 0x10000, FILE),
        (MAP, 0x10000 - PAGE, 2 * PAGE),
        (MAP, 0x10000 + FILE - PAGE, PAGE),
        (MAP, WINDOW, PAGE),
        (MAP, WINDOW - PAGE, 2 * PAGE),
        (MAP, 0x800, PAGE),
        (MAP, 0, FILE + PAGE),
        (UNMAP, 0x10000, FILE - PAGE),
        (UNMAP, 0x10000 + PAGE, FILE - PAGE),
        (UNMAP, 0, WINDOW),
        (UNMAP, 0x40000, PAGE),
    ] {
        let error = ask(&guest, what, offset, len).unwrap_err();
        assert!(error.starts_with("the VMM refused"), "{offset:#x} {error}");
        assert_eq!(guest.window().unwrap().maps().len(), 1);
    }
    ask(&guest, MAP, 0, PAGE).unwrap();
    ask(&guest, UNMAP, 0x10000, FILE).unwrap();
    ask(&guest, UNMAP, 0, PAGE).unwrap();
}

#[test]
fn a_wrapping_or_empty_map_never_reaches_the_vmm_as_a_mapping() {
    let link = Link::new();
    let device = Echo::new(&link);
    let mapper = link.mapper();
    let guest = EmbeddedGuest::start(Arc::clone(&device) as _, link, Config::default()).unwrap();
    let file = Memfd::create("wrap", PAGE, Options::default()).unwrap();
    for (offset, len) in [(u64::MAX - PAGE + 1, 2 * PAGE), (0, 0)] {
        let map = WindowMap {
            file: file.as_fd(),
            offset,
            len,
        };
        assert!(mapper.map(&map).is_err());
    }
    assert_eq!(guest.window().unwrap().maps(), []);
}

#[test]
fn without_a_vmm_the_mapper_says_so() {
    let link = Link::new();
    let device = Echo::new(&link);
    let mapper = link.mapper();
    let gone = |mapper: &dyn WindowMapper| match mapper.unmap(0, PAGE) {
        Err(MapperError::Gone { .. }) => {}
        other => panic!("{other:?}"),
    };
    gone(&*mapper);
    let file = std::fs::File::open("/dev/null").unwrap();
    let unsent = mapper.map(&WindowMap {
        file: file.as_fd(),
        offset: 0,
        len: PAGE,
    });
    assert!(
        matches!(unsent, Err(MapperError::HoldsNothing { .. })),
        "{unsent:?}"
    );
    let guest = EmbeddedGuest::start(Arc::clone(&device) as _, link, Config::default()).unwrap();
    ask(&guest, MAP, 0, PAGE).unwrap();
    guest.stop().unwrap();
    gone(&*mapper);
}

/// More than that kills QEMU, so the embedded guest refuses it too.
const MAX_MAPS: u64 = 511;

#[test]
fn five_hundred_and_eleven_maps_fit_and_one_more_does_not() {
    let link = Link::new();
    let device = Echo::new(&link);
    let mapper = link.mapper();
    let guest = EmbeddedGuest::start(Arc::clone(&device) as _, link, Config::default()).unwrap();
    for i in 0..MAX_MAPS {
        ask(&guest, MAP, i * PAGE, PAGE).unwrap();
    }
    ask(&guest, MAP, MAX_MAPS * PAGE, PAGE).unwrap_err();
    assert_eq!(guest.window().unwrap().maps().len() as u64, MAX_MAPS);
    for i in 0..MAX_MAPS {
        mapper.unmap(i * PAGE, PAGE).unwrap();
    }
    assert_eq!(guest.window().unwrap().maps(), []);
}

#[test]
fn a_reset_while_a_map_is_in_flight_blocks_nobody() {
    for reset in [EmbeddedGuest::rebind, EmbeddedGuest::reset] {
        let (guest, device) = Echo::start(Config::default());
        let window = guest.window().unwrap();
        let stall = window.stall();
        let pending = guest.submit(0, &window_request(MAP, 0, PAGE), 256).unwrap();
        while device.seen.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        let before = device.resets();
        // The worker waits for the VMM, and the VMM for the backend.
        reset(&guest).unwrap();
        assert_eq!(device.resets(), before + 1);
        assert!(matches!(
            pending.wait(Duration::from_secs(10)),
            Err(Error::Ended)
        ));
        assert_eq!(
            guest.request(1, b"\0other queue", 64).unwrap(),
            b"other queue"
        );
        drop(stall);
        assert_eq!(
            guest.request(0, b"\0same queue", 64).unwrap(),
            b"same queue"
        );
    }
}

#[test]
fn a_vmm_that_dies_while_a_map_is_in_flight_blocks_nobody() {
    let (guest, device) = Echo::start(Config::default());
    let (done, waiting) = channel();
    std::thread::scope(|scope| {
        let stall = guest.window().unwrap().stall();
        let _pending = guest.submit(0, &window_request(MAP, 0, PAGE), 256).unwrap();
        while device.seen.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        guest.hang_up();
        scope.spawn(|| {
            while device.resets() == 0 {
                std::thread::yield_now();
            }
            done.send(()).unwrap();
        });
        waiting.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(stall);
    });
    guest.stop().unwrap();
}
