//! Beginning and end: connections come and go, drivers bind and unbind, and
//! nothing is left behind.

mod echo;

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use echo::{Echo, HOLD};
use landbridge_transport::guest::{Config, EmbeddedGuest};
use landbridge_transport::{Backend, Error, Link};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_listener_serves_whoever_connects() {
    let path = std::env::temp_dir().join(format!("landbridge-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let link = Link::new();
    let backend = Backend::new(Echo::new(&link), link);
    for _ in 0..3 {
        let stream = UnixStream::connect(&path).unwrap();
        let connection = backend.accept(&listener).unwrap();
        let guest = EmbeddedGuest::attach(stream, Config::default()).unwrap();
        assert_eq!(guest.request(0, b"\0hello", 64).unwrap(), b"hello");
        drop(guest);
        connection.wait().unwrap();
    }
    assert!(path.exists(), "the socket is whoever's bound it");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_connection_that_says_nothing_or_garbage_is_survived() {
    use std::io::Write;
    let link = Link::new();
    let device = Echo::new(&link);
    let backend = Backend::new(Arc::clone(&device) as _, link);
    let (stream, connection) = backend.connect().unwrap();
    drop(stream);
    connection.wait().unwrap();
    let (mut stream, connection) = backend.connect().unwrap();
    stream.write_all(&[1, 0, 0]).unwrap();
    drop(stream);
    connection.wait().unwrap();
    let (mut stream, connection) = backend.connect().unwrap();
    stream.write_all(&[0xff; 64]).unwrap();
    assert!(matches!(connection.wait(), Err(Error::Vmm { .. })));
    let (stream, connection) = backend.connect().unwrap();
    let guest = EmbeddedGuest::attach(stream, Config::default()).unwrap();
    assert_eq!(guest.request(0, b"\0hello", 64).unwrap(), b"hello");
    drop(guest);
    connection.wait().unwrap();
}

#[test]
fn a_driver_that_leaves_resets_the_device_and_late_answers_go_nowhere() {
    for restart in [EmbeddedGuest::rebind, EmbeddedGuest::reset] {
        let (guest, device) = Echo::start(Config::default());
        assert_eq!(device.activations.load(Ordering::SeqCst), 1);
        let late = guest.submit(0, &[HOLD, 1, 2, 3], 8).unwrap();
        let other = guest.submit(1, &[HOLD, 1, 2, 3], 8).unwrap();
        while device.held() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(device.resets(), 0);
        restart(&guest).unwrap();
        // Once, and again if a request was just being handled.
        assert!((1..=2).contains(&device.resets()));
        assert_eq!(device.activations.load(Ordering::SeqCst), 2);
        for pending in [late, other] {
            assert!(matches!(pending.wait(PATIENCE), Err(Error::Ended)));
        }
        for queue in 0..2 {
            assert_eq!(guest.request(queue, b"\0again", 64).unwrap(), b"again");
        }
        assert_eq!(guest.window().unwrap().maps(), []);
    }
}

#[test]
fn drivers_come_and_go_under_load() {
    let (guest, device) = Echo::start(Config::default());
    for round in 0..100u8 {
        let pending: Vec<_> = (0..40u8)
            .map(|i| {
                guest
                    .submit(usize::from(i % 2), &[i % 2, round, i], 8)
                    .unwrap()
            })
            .collect();
        match round % 2 {
            0 => guest.rebind().unwrap(),
            _ => guest.reset().unwrap(),
        }
        for (i, pending) in (0..40u8).zip(pending) {
            match pending.wait(PATIENCE) {
                // Taken from one queue while the other was being stopped: given
                // back with nothing written.
                Ok(answer) if i % 2 == HOLD && answer.written == 0 => {}
                Ok(answer) => assert_eq!(answer.bytes, [round, i]),
                Err(Error::Ended) => {}
                Err(error) => panic!("{error}"),
            }
        }
        for queue in 0..2 {
            assert_eq!(guest.request(queue, b"\0again", 64).unwrap(), b"again");
        }
    }
    assert!(device.resets() >= 100);
    guest.stop().unwrap();
}

#[test]
fn a_vmm_that_dies_in_the_middle_of_requests_leaves_a_clean_device() {
    let (guest, device) = Echo::start(Config::default());
    let _pending: Vec<_> = (0..50u8)
        .map(|i| guest.submit(0, &[HOLD, i], 8).unwrap())
        .collect();
    while device.held() == 0 {
        std::thread::yield_now();
    }
    guest.hang_up();
    guest.stop().unwrap();
    assert!(device.resets() >= 1);
    assert_eq!(device.held(), 0);
}
