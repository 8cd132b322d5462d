//! What a hostile driver can put into a queue. Every chain comes back empty,
//! and the queue goes on.

mod echo;

use std::time::Duration;

use echo::{Echo, FILE};
use landbridge_transport::Error;
use landbridge_transport::guest::{Config, Descriptor, EmbeddedGuest, PAGE, RAM_BASE};

const PATIENCE: Duration = Duration::from_secs(10);
const RAM: u64 = 64 << 20;

fn alive(guest: &EmbeddedGuest, after: &str) {
    for queue in 0..2 {
        let answer = guest.request(queue, b"\0alive", 64);
        assert_eq!(answer.unwrap(), b"alive", "after {after}");
    }
}

/// Chains that are refused. `data` is a page of the guest's memory; the page
/// after it holds indirect tables.
fn malformed(data: u64) -> Vec<(&'static str, Vec<Descriptor>)> {
    let read = |addr, len| Descriptor::readable(addr, len);
    let write = |addr, len| Descriptor::writable(addr, len);
    let end = RAM_BASE + RAM;
    let table = data + PAGE;
    let nested = table + 0x100;
    let looping = table + 0x200;
    let outside = table + 0x300;
    vec![
        ("a loop of one", vec![read(data, 8).then(0)]),
        (
            "a loop of two",
            vec![read(data, 8).then(1), read(data, 8).then(0)],
        ),
        ("a next outside the table", vec![read(data, 8).then(0xffff)]),
        ("a next at the table's end", vec![read(data, 8).then(256)]),
        ("a request at address 0", vec![read(0, 8)]),
        ("a request past the memory", vec![read(end - 4, 8)]),
        ("a request far away", vec![read(1 << 60, 8)]),
        ("a request that wraps", vec![read(u64::MAX - 3, 8)]),
        (
            "an answer below the memory",
            vec![read(data, 8).then(1), write(RAM_BASE - 8, 16)],
        ),
        (
            "an answer that wraps",
            vec![read(data, 8).then(1), write(u64::MAX, 16)],
        ),
        (
            "a huge answer",
            vec![read(data, 8).then(1), write(data, u32::MAX)],
        ),
        ("a request longer than memory", vec![read(data, u32::MAX)]),
        (
            "readable after writable",
            vec![write(data, 8).then(1), read(data, 8)],
        ),
        (
            "readable between writable",
            vec![
                read(data, 8).then(1),
                write(data, 8).then(2),
                read(data, 8).then(3),
                write(data, 8),
            ],
        ),
        (
            "an empty indirect table",
            vec![Descriptor::indirect(table, 0)],
        ),
        (
            "a torn indirect table",
            vec![Descriptor::indirect(table, 24)],
        ),
        (
            "a short indirect table",
            vec![Descriptor::indirect(table, 8)],
        ),
        (
            "an indirect table far away",
            vec![Descriptor::indirect(1 << 50, 32)],
        ),
        (
            "an indirect table that wraps",
            vec![Descriptor::indirect(u64::MAX - 15, 32)],
        ),
        (
            "a huge indirect table",
            vec![Descriptor::indirect(RAM_BASE, 0x4000_0000)],
        ),
        (
            "an indirect descriptor with a successor",
            vec![Descriptor::indirect(table, 32).then(1), write(data, 8)],
        ),
        (
            "an indirect table in an indirect table",
            vec![Descriptor::indirect(nested, 32)],
        ),
        (
            "a loop in an indirect table",
            vec![Descriptor::indirect(looping, 32)],
        ),
        (
            "a next outside an indirect table",
            vec![Descriptor::indirect(outside, 16)],
        ),
    ]
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
        let data = pages.address();
        let table = data + PAGE;
        let tables = [
            (0x100, Descriptor::readable(data, 8).then(1)),
            (0x110, Descriptor::indirect(table, 32)),
            (0x200, Descriptor::readable(data, 8).then(1)),
            (0x210, Descriptor::readable(data, 8).then(0)),
            (0x300, Descriptor::readable(data, 8).then(1)),
        ];
        for (offset, descriptor) in tables {
            pages.write(PAGE + offset, &descriptor.to_bytes()).unwrap();
        }
        for (name, chain) in malformed(data) {
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
