//! A VM that is paused: the VMM stops the queues as if the driver left, and goes
//! on where they were. Nothing is lost, and nothing reaches the guest meanwhile.

mod echo;

use std::sync::atomic::Ordering;
use std::time::Duration;

use echo::{Echo, HOLD, MAP, RELEASE};
use landbridge_transport::Error;
use landbridge_transport::guest::{Config, EmbeddedGuest};

const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing must happen for it to count as not happening.
const SILENCE: Duration = Duration::from_millis(50);

fn map(guest: &EmbeddedGuest) {
    let mut request = vec![MAP];
    request.extend(0u64.to_le_bytes());
    request.extend(4096u64.to_le_bytes());
    assert_eq!(guest.request(0, &request, 8).unwrap()[0], 0);
}

#[test]
fn a_pause_loses_nothing() {
    let (guest, device) = Echo::start(Config::default());
    map(&guest);
    for round in 0..20u8 {
        let before = guest.submit(0, &[HOLD, round], 8).unwrap();
        while device.held() < 1 {
            std::thread::yield_now();
        }
        let paused = guest.pause().unwrap();
        let window = guest.window().unwrap();
        assert_eq!(window.maps().len(), 1, "the window stays");
        paused.go_on().unwrap();
        assert_eq!(guest.request(1, &[RELEASE], 8).unwrap(), [0]);
        assert_eq!(before.wait(PATIENCE).unwrap().bytes, [round]);
        assert_eq!(guest.request(0, b"\0again", 64).unwrap(), b"again");
    }
    assert_eq!(device.resets(), 0);
    assert_eq!(device.activations.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_answered_during_a_pause_arrives_after_it() {
    let (guest, device) = Echo::start(Config::default());
    let first = guest.submit(0, &[HOLD, 1], 8).unwrap();
    let second = guest.submit(0, &[HOLD, 2], 8).unwrap();
    while device.held() < 2 {
        std::thread::yield_now();
    }
    let paused = guest.pause().unwrap();
    device.release();
    // Nobody looks at the queue either.
    let third = guest.submit(0, b"\0third", 8).unwrap();
    let fourth = guest.submit(1, b"\0fourth", 8).unwrap();
    for pending in [&first, &second, &third, &fourth] {
        let early = pending.wait(SILENCE);
        assert!(matches!(early, Err(Error::Timeout)), "{early:?}");
    }
    assert_eq!(device.seen.lock().unwrap().len(), 2);
    paused.go_on().unwrap();
    assert_eq!(first.wait(PATIENCE).unwrap().bytes, [1]);
    assert_eq!(second.wait(PATIENCE).unwrap().bytes, [2]);
    assert_eq!(third.wait(PATIENCE).unwrap().bytes, b"third");
    assert_eq!(fourth.wait(PATIENCE).unwrap().bytes, b"fourth");
    assert_eq!(device.resets(), 0);
}

#[test]
fn pauses_under_load_lose_nothing() {
    let (guest, device) = Echo::start(Config::default());
    for round in 0..100u8 {
        let pending: Vec<_> = (0..40u8)
            .map(|i| guest.submit(usize::from(i % 2), &[0, round, i], 8).unwrap())
            .collect();
        guest.pause().unwrap().go_on().unwrap();
        for (i, pending) in (0..40u8).zip(pending) {
            assert_eq!(pending.wait(PATIENCE).unwrap().bytes, [round, i]);
        }
    }
    assert_eq!(device.resets(), 0);
}

#[test]
fn a_guest_that_restarts_while_it_is_paused_leaves_nothing() {
    for restart in [EmbeddedGuest::rebind, EmbeddedGuest::reset] {
        let (guest, device) = Echo::start(Config::default());
        map(&guest);
        let late = guest.submit(0, &[HOLD, 1], 8).unwrap();
        while device.held() < 1 {
            std::thread::yield_now();
        }
        let paused = guest.pause().unwrap();
        assert_eq!(device.resets(), 0);
        restart(&guest).unwrap();
        drop(paused);
        assert!(matches!(late.wait(PATIENCE), Err(Error::Ended)));
        assert!(device.resets() >= 1);
        assert_eq!(device.activations.load(Ordering::SeqCst), 2);
        assert_eq!(guest.window().unwrap().maps(), []);
        assert_eq!(guest.request(0, b"\0again", 64).unwrap(), b"again");
    }
}

#[test]
fn a_vmm_that_dies_while_it_is_paused_leaves_nothing() {
    let (guest, device) = Echo::start(Config::default());
    let _late = guest.submit(0, &[HOLD, 1], 8).unwrap();
    while device.held() < 1 {
        std::thread::yield_now();
    }
    drop(guest.pause().unwrap());
    guest.stop().unwrap();
    assert!(device.resets() >= 1);
    assert_eq!(device.held(), 0);
}
