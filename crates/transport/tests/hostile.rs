//! What a hostile driver can put into a queue. Every chain comes back empty,
//! and the queue goes on.

mod echo;

use std::time::Duration;

use echo::{Echo, FILE};
use landbridge_transport::Error;
use landbridge_transport::guest::malformed::{self, Place};
use landbridge_transport::guest::{Config, Descriptor, EmbeddedGuest, PAGE, RAM_BASE};

const PATIENCE: Duration = Duration::from_secs(10);
const RAM: u64 = 64 << 20;

fn alive(guest: &EmbeddedGuest, after: &str) {
    for queue in 0..2 {
        let answer = guest.request(queue, b"\0alive", 64);
        assert_eq!(answer.unwrap(), b"alive", "after {after}");
    }
}

#[test]
fn malformed_chains_come_back_empty_and_the_queue_goes_on() {
    for indirect in [true, false] {
        let config = Config {
            memory: RAM,
            indirect,
            ..Config::default()
        };
        let (guest, device) = Echo::start(config);
        let pages = guest.allocate(2 * PAGE).unwrap();
        let place = Place {
            data: pages.address(),
            tables: pages.address() + PAGE,
            hole: RAM_BASE - 8,
            end: RAM_BASE + RAM,
        };
        for (offset, descriptor) in malformed::tables(place) {
            pages.write(PAGE + offset, &descriptor.to_bytes()).unwrap();
        }
        for (name, chain) in malformed::chains(place) {
            for queue in 0..2 {
                let before = device.seen.lock().unwrap().len();
                let pending = guest.raw(queue).unwrap().push(&chain).unwrap();
                let answer = pending
                    .wait(PATIENCE)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(answer.written, 0, "{name}");
                let after = device.seen.lock().unwrap().len();
                assert_eq!(before, after, "the device never sees {name}");
            }
            alive(&guest, name);
        }
        guest.stop().unwrap();
    }
}

#[test]
fn unusual_but_legal_chains_are_served() {
    let (guest, _device) = Echo::start(Config::default());
    let pages = guest.allocate(2 * PAGE).unwrap();
    pages.write(0, b"\0abcdef").unwrap();
    let (data, table) = (pages.address(), pages.address() + PAGE);
    let answer = data + 0x800;
    let raw = guest.raw(0).unwrap();
    let send = |chain: &[Descriptor]| raw.push(chain).unwrap().wait(PATIENCE).unwrap().written;

    assert_eq!(send(&[Descriptor::readable(data, 7)]), 0, "no room");
    assert_eq!(send(&[Descriptor::writable(answer, 16)]), 5, "no request");
    assert_eq!(pages.read(0x800, 5).unwrap(), b"empty");
    let scattered: Vec<Descriptor> = (0..7)
        .map(|i| Descriptor::readable(data + i, 1).then(i as u16 + 1))
        .chain((0..6).map(|i| Descriptor::writable(answer + 2 * i, 1).then(i as u16 + 8)))
        .chain([Descriptor::writable(answer + 100, 0)])
        .collect();
    assert_eq!(send(&scattered), 6);
    let every_other: Vec<u8> = pages
        .read(0x800, 11)
        .unwrap()
        .into_iter()
        .step_by(2)
        .collect();
    assert_eq!(every_other, b"abcdef");
    // A direct descriptor, and then the rest in a table marked as writable,
    // which has no meaning.
    for (index, descriptor) in [
        Descriptor::readable(data + 1, 3).then(1),
        Descriptor::writable(answer, 9),
    ]
    .iter()
    .enumerate()
    {
        pages
            .write(PAGE + 16 * index as u64, &descriptor.to_bytes())
            .unwrap();
    }
    let mut indirect = Descriptor::indirect(table, 32);
    indirect.flags |= Descriptor::WRITE;
    assert_eq!(send(&[Descriptor::readable(data, 1).then(1), indirect]), 3);
    assert_eq!(pages.read(0x800, 3).unwrap(), b"abc");
    assert_eq!(
        send(&[
            Descriptor::readable(data, 0).then(1),
            Descriptor::writable(1, 0)
        ]),
        0
    );
}

#[test]
fn requests_past_the_limit_are_refused_without_reading_them() {
    let (guest, _device) = Echo::start(Config {
        memory: RAM,
        ..Config::default()
    });
    let len = 1 << 20;
    let pages = guest.allocate(len).unwrap();
    let chain = |count: u16| -> Vec<Descriptor> {
        let one = Descriptor::readable(pages.address(), len as u32);
        (1..count).map(|next| one.then(next)).chain([one]).collect()
    };
    for (count, name) in [(17, "17 MiB"), (200, "200 MiB")] {
        let pending = guest.raw(0).unwrap().push(&chain(count)).unwrap();
        assert_eq!(pending.wait(PATIENCE).unwrap().written, 0);
        alive(&guest, name);
    }
}

#[test]
fn heads_outside_the_table_are_skipped() {
    let (guest, _device) = Echo::start(Config::default());
    let raw = guest.raw(0).unwrap();
    for head in [raw.size(), 0x7fff, 0xffff] {
        raw.push_head(head).unwrap();
        alive(&guest, "a head outside the table");
    }
}

#[test]
fn a_queue_that_announces_too_much_rests_until_it_is_restarted() {
    for restart in [EmbeddedGuest::rebind, EmbeddedGuest::reset] {
        let (guest, _device) = Echo::start(Config {
            patience: Duration::from_millis(200),
            ..Config::default()
        });
        let size = guest.raw(0).unwrap().size();
        guest.raw(0).unwrap().advance(size + 1).unwrap();
        assert!(matches!(
            guest.request(0, b"\0dead", 64),
            Err(Error::Timeout)
        ));
        assert_eq!(guest.request(1, b"\0alive", 64).unwrap(), b"alive");
        restart(&guest).unwrap();
        alive(&guest, "a restart");
    }
}

#[test]
fn the_answer_of_a_map_fits_no_room_at_all() {
    let (guest, _device) = Echo::start(Config::default());
    let request = echo::window_request(echo::MAP, 0, FILE);
    let pending = guest.submit(0, &request, 0).unwrap();
    assert_eq!(pending.wait(PATIENCE).unwrap().written, 0);
    assert_eq!(guest.window().unwrap().maps().len(), 1, "done all the same");
    let room = guest.request(0, &[echo::ROOM], 1234).unwrap();
    assert_eq!(room, 1234u64.to_le_bytes());
}
