//! Nothing is left behind. Alone in its file: it counts what the whole process
//! has open, and other tests open things too.

mod echo;

use std::sync::Arc;

use echo::{Echo, HOLD, MAP, window_request};
use landbridge_transport::guest::{Config, EmbeddedGuest};
use landbridge_transport::{Backend, Error, Link};

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}"))
        .unwrap()
        .count()
}

/// The mapped regions of memfds: guests' memory and device files.
fn maps() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/memfd:")).count()
}

fn open() -> (usize, usize, usize) {
    (count("fd"), count("task"), maps())
}

#[test]
fn nothing_is_left_behind() {
    a_hundred_guests();
    twenty_vmms_of_one_device();
}

fn a_hundred_guests() {
    let run = |i: usize| {
        let (guest, device) = Echo::start(Config::default());
        assert_eq!(guest.request(0, b"\0hello", 64).unwrap(), b"hello");
        let _late = guest.submit(0, &[HOLD, 1], 8).unwrap();
        guest.request(1, &window_request(MAP, 0, 4096), 64).unwrap();
        match i % 3 {
            0 => guest.stop().unwrap(),
            1 => drop(guest),
            _ => {
                guest.hang_up();
                guest.stop().unwrap();
            }
        }
        // Once, and again if a request was just being handled.
        assert!((1..=2).contains(&device.resets()));
        assert_eq!(device.held(), 0);
    };
    run(0);
    let before = open();
    for i in 0..100 {
        run(i);
    }
    assert_eq!(open(), before);
}

fn twenty_vmms_of_one_device() {
    let link = Link::new();
    let device = Echo::new(&link);
    let backend = Backend::new(Arc::clone(&device) as _, link);
    let before = open();
    for round in 1..=20 {
        let (stream, connection) = backend.connect().unwrap();
        assert!(matches!(backend.connect(), Err(Error::Busy)));
        let guest = EmbeddedGuest::attach(stream, Config::default()).unwrap();
        let _late = guest.submit(0, &[HOLD, 1], 8).unwrap();
        assert_eq!(guest.request(0, b"\0hello", 64).unwrap(), b"hello");
        assert!(!connection.has_ended());
        match round % 2 {
            0 => {
                connection.stop().unwrap();
                drop(guest);
            }
            _ => {
                drop(guest);
                connection.wait().unwrap();
            }
        }
        assert!((round..=2 * round).contains(&device.resets()));
        assert_eq!(device.held(), 0);
    }
    assert_eq!(open(), before);
}
