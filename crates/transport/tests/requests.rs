//! Requests and answers through the whole stack: embedded guest, vhost-user,
//! backend, device.

mod echo;

use std::time::Duration;

use echo::{DROP, ECHO, Echo, HOLD, RELEASE};
use landbridge_transport::guest::Config;

const PATIENCE: Duration = Duration::from_secs(10);

fn kinds() -> impl Iterator<Item = Config> {
    let with = |indirect, event_idx| Config {
        indirect,
        event_idx,
        ..Config::default()
    };
    [(true, true), (true, false), (false, true), (false, false)]
        .into_iter()
        .map(move |(indirect, event_idx)| with(indirect, event_idx))
}

#[test]
fn an_echo_comes_back_whatever_was_negotiated() {
    for config in kinds() {
        let (guest, _device) = Echo::start(config);
        for queue in 0..2 {
            let answer = guest.request(queue, b"\0hello", 64).unwrap();
            assert_eq!(answer, b"hello", "{config:?}");
        }
        guest.stop().unwrap();
    }
}

#[test]
fn long_requests_and_answers_arrive_whole() {
    let (guest, _device) = Echo::start(Config::default());
    let bytes: Vec<u8> = (0..1_000_003u32).map(|i| (i * 7) as u8).collect();
    let request = [&[ECHO][..], &bytes].concat();
    assert_eq!(guest.request(0, &request, bytes.len()).unwrap(), bytes);
    let cut = guest.request(0, &request, 1000).unwrap();
    assert_eq!(
        cut,
        bytes[..1000],
        "the beginning, where there is no more room"
    );
}

#[test]
fn requests_of_one_queue_arrive_in_order() {
    for config in kinds() {
        let config = Config {
            queue_size: 16,
            ..config
        };
        let (guest, device) = Echo::start(config);
        let mut pending = Vec::new();
        for i in 0..5000u32 {
            let request = [&[ECHO][..], &i.to_le_bytes()].concat();
            pending.push((i, guest.submit(0, &request, 4).unwrap()));
            if pending.len() == 8 {
                for (i, answer) in pending.drain(..) {
                    let answer = answer.wait(PATIENCE).unwrap();
                    assert_eq!(answer.bytes, i.to_le_bytes());
                    assert_eq!(answer.written, 4);
                }
            }
        }
        let seen = device.seen.lock().unwrap();
        let numbers: Vec<u32> = seen
            .iter()
            .map(|(_, bytes)| u32::from_le_bytes(bytes[1..].try_into().unwrap()))
            .collect();
        assert_eq!(numbers, (0..5000).collect::<Vec<_>>());
    }
}

#[test]
fn answers_may_come_late_in_any_order_and_from_any_thread() {
    let (guest, device) = Echo::start(Config::default());
    let early: Vec<_> = (0..20u8)
        .map(|i| guest.submit(0, &[HOLD, i], 8).unwrap())
        .collect();
    assert_eq!(guest.request(1, b"\0meanwhile", 64).unwrap(), b"meanwhile");
    assert_eq!(guest.request(0, b"\0meanwhile", 64).unwrap(), b"meanwhile");
    assert!(early.iter().all(|pending| pending.poll().is_none()));
    std::thread::scope(|scope| {
        scope.spawn(|| device.release());
    });
    for (i, pending) in (0..20u8).zip(&early) {
        assert_eq!(pending.wait(PATIENCE).unwrap().bytes, [i]);
    }
    let late = guest.submit(1, &[HOLD, 99], 8).unwrap();
    assert_eq!(guest.request(1, &[RELEASE], 8).unwrap(), [0]);
    assert_eq!(late.wait(PATIENCE).unwrap().bytes, [99]);
}

#[test]
fn a_dropped_request_comes_back_empty() {
    let (guest, _device) = Echo::start(Config::default());
    let answer = guest.submit(0, &[DROP], 64).unwrap();
    assert_eq!(answer.wait(PATIENCE).unwrap().written, 0);
}

#[test]
fn many_threads_share_a_queue() {
    let (guest, _device) = Echo::start(Config::default());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let guest = &guest;
            scope.spawn(move || {
                for i in 0..200u8 {
                    let answer = guest.request(0, &[ECHO, thread, i], 8).unwrap();
                    assert_eq!(answer, [thread, i]);
                }
            });
        }
    });
}

#[test]
fn the_configuration_space_is_read_written_and_zero_beyond_its_end() {
    let (guest, device) = Echo::start(Config::default());
    assert_eq!(guest.config(0, 12).unwrap(), b"echo config!");
    assert_eq!(guest.config(5, 10).unwrap(), b"config!\0\0\0");
    assert_eq!(guest.config(200, 8).unwrap(), [0; 8]);
    guest.write_config(0, b"ECHO").unwrap();
    assert_eq!(*device.config.lock().unwrap(), b"ECHO config!");
}

#[test]
fn features_are_negotiated() {
    let config = Config {
        features: 0b0010,
        ..Config::default()
    };
    let (guest, device) = Echo::start(config);
    let agreed = device.features.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(agreed, 0b0010, "device features only");
    assert_eq!(guest.features() & 0xff_ffff, 0b0010);
}
