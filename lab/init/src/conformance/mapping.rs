//! `mmap`: what is allowed, what is seen, and what the kernel's own ways into
//! memory make of the mapping.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Property, Subject, property};
use crate::exporters::{Access, Refused};
use crate::sys::answer;
use crate::sys::memory::{How, Map, PAGE};

pub(super) const PROPERTIES: &[Property] = &[
    property("mmap: shared", |subject| whole(subject, How::SHARED)),
    property("mmap: shared, to read", |subject| {
        whole(subject, How::READ_ONLY)
    }),
    property("mmap: shared, to execute", |subject| {
        whole(subject, How::EXECUTABLE)
    }),
    property("mmap: private", |subject| whole(subject, How::PRIVATE)),
    property("mmap: a page too long", too_long),
    property("mmap: from the end on", from_the_end),
    property("mmap: one page at offset 8192 shows", at_offset),
    property("mmap: to write, a read-only descriptor", |subject| {
        read_only(subject, How::SHARED)
    }),
    property("mmap: to read, a read-only descriptor", |subject| {
        read_only(subject, How::READ_ONLY)
    }),
    property("mmap: at first holds", first_contents),
    property("mmap: a second one sees writes", coherent),
    property("mmap: VmFlags of note", flags),
    property("mapped: madvise populate", |subject| {
        probe(subject, Map::populate)
    }),
    property("mapped: process_vm_readv", |subject| {
        touched(subject, Map::read_through_pages)
    }),
    property("mapped: vmsplice", |subject| {
        touched(subject, Map::splice_to_pipe)
    }),
    property("mapped: write to a pipe", |subject| {
        touched(subject, Map::write_to_pipe)
    }),
    property("mapped: /proc/self/mem", |subject| {
        touched(subject, Map::read_through_proc)
    }),
    property("mapped: /proc/self/pagemap", pagemap),
];

/// Flags that tell how the kernel made the mapping: page frames without pages
/// (pf), device memory (io), pages of its own (mm), huge ones (ht).
const OF_NOTE: [&str; 4] = ["pf", "io", "mm", "ht"];

fn whole(subject: &Subject<'_>, how: How) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    Ok(answer(Map::new(&buffer, 0, buffer.bytes(), how)))
}

fn too_long(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let len = buffer.bytes() + PAGE;
    Ok(answer(Map::new(&buffer, 0, len, How::SHARED)))
}

fn from_the_end(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let offset = buffer.bytes();
    Ok(answer(Map::new(&buffer, offset, PAGE, How::SHARED)))
}

/// Numbers the pages through a whole mapping, and looks which of them a partial
/// one shows.
fn at_offset(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let whole = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
    for page in 0..4_u8 {
        whole.set(usize::from(page) * PAGE, page + 1);
    }
    let part = match Map::new(&buffer, 2 * PAGE, PAGE, How::SHARED) {
        Ok(part) => part,
        Err(errno) => return Ok(crate::sys::errno_name(errno)),
    };
    Ok(match part.get(0) {
        3 => "page 2".to_owned(),
        1 => "page 0".to_owned(),
        other => format!("byte {other}"),
    })
}

fn read_only(subject: &Subject<'_>, how: How) -> Result<String, Refused> {
    let buffer = subject.exporter.export(super::SIZE, Access::ReadOnly)?;
    Ok(answer(Map::new(&buffer, 0, buffer.bytes(), how)))
}

fn first_contents(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let map = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
    let zeros = (0..buffer.bytes()).all(|at| map.get(at) == 0);
    Ok(if zeros { "zeros" } else { "something" }.to_owned())
}

fn coherent(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let len = buffer.bytes();
    let one = Map::new(&buffer, 0, len, How::SHARED)?;
    let other = Map::new(&buffer, 0, len, How::SHARED)?;
    let seen = [0, len / 2, len - 1].into_iter().all(|at| {
        one.set(at, 0x5a);
        other.get(at) == 0x5a
    });
    Ok(if seen { "yes" } else { "no" }.to_owned())
}

fn flags(subject: &Subject<'_>) -> Result<String, Refused> {
    let map = map(subject.buffer()?)?;
    map.get(0);
    let flags = map.flags()?;
    let found: Vec<&str> = OF_NOTE
        .into_iter()
        .filter(|flag| flags.iter().any(|has| has == flag))
        .collect();
    Ok(if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(" ")
    })
}

/// Tries `way` on a fresh mapping.
fn probe(
    subject: &Subject<'_>,
    way: impl FnOnce(&Map) -> Result<(), Errno>,
) -> Result<String, Refused> {
    let map = map(subject.buffer()?)?;
    Ok(answer(way(&map)))
}

/// Tries `way` on a mapping whose first page has been touched, so that a page
/// that is merely absent is not the answer.
fn touched(
    subject: &Subject<'_>,
    way: impl FnOnce(&Map) -> Result<(), Errno>,
) -> Result<String, Refused> {
    let map = map(subject.buffer()?)?;
    map.set(0, 1);
    Ok(answer(way(&map)))
}

fn pagemap(subject: &Subject<'_>) -> Result<String, Refused> {
    let map = map(subject.buffer()?)?;
    map.set(0, 1);
    let present = map.pagemap()? >> 63 == 1;
    Ok(if present { "present" } else { "nothing" }.to_owned())
}

/// The mapping outlives the descriptor, as mappings do.
fn map(buffer: impl AsFd) -> Result<Map, Refused> {
    let size = rustix::fs::seek(&buffer, rustix::fs::SeekFrom::End(0))?;
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    Ok(Map::new(&buffer, 0, len, How::SHARED)?)
}
