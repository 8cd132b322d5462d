//! Chains that no device may take, as data for those who test devices.

use super::ring::Descriptor;

/// Where in a guest's memory the chains point.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// A page of the guest.
    pub data: u64,
    /// Another, which holds [`tables`].
    pub tables: u64,
    /// 16 bytes of which at least one is no memory of the guest.
    pub hole: u64,
    /// Where the guest's memory ends.
    pub end: u64,
}

/// Indirect tables that some of the chains need: the offset in their page of
/// each descriptor.
pub fn tables(place: Place) -> [(u64, Descriptor); 5] {
    let Place { data, tables, .. } = place;
    [
        (0x100, Descriptor::readable(data, 8).then(1)),
        (0x110, Descriptor::indirect(tables, 32)),
        (0x200, Descriptor::readable(data, 8).then(1)),
        (0x210, Descriptor::readable(data, 8).then(0)),
        (0x300, Descriptor::readable(data, 8).then(1)),
    ]
}

/// The chains by name. Each comes back with nothing written, and the queue
/// goes on.
pub fn chains(place: Place) -> Vec<(&'static str, Vec<Descriptor>)> {
    [direct(place), indirect(place)].concat()
}

fn read(addr: u64, len: u32) -> Descriptor {
    Descriptor::readable(addr, len)
}

fn write(addr: u64, len: u32) -> Descriptor {
    Descriptor::writable(addr, len)
}

fn direct(place: Place) -> Vec<(&'static str, Vec<Descriptor>)> {
    let data = place.data;
    vec![
        ("a loop of one", vec![read(data, 8).then(0)]),
        (
            "a loop of two",
            vec![read(data, 8).then(1), read(data, 8).then(0)],
        ),
        ("a next outside the table", vec![read(data, 8).then(0xffff)]),
        ("a next at the table's end", vec![read(data, 8).then(256)]),
        ("a request at address 0", vec![read(0, 8)]),
        ("a request past the memory", vec![read(place.end - 4, 8)]),
        ("a request far away", vec![read(1 << 60, 8)]),
        ("a request that wraps", vec![read(u64::MAX - 3, 8)]),
        (
            "an answer outside the memory",
            vec![read(data, 8).then(1), write(place.hole, 16)],
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
    ]
}

fn indirect(place: Place) -> Vec<(&'static str, Vec<Descriptor>)> {
    let Place {
        data,
        tables: table,
        ..
    } = place;
    let nested = table + 0x100;
    let looping = table + 0x200;
    let outside = table + 0x300;
    vec![
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
            vec![Descriptor::indirect(data, 0x4000_0000)],
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
