//! `DMA_BUF_IOCTL_SYNC`: every combination of its flags, in and out of order.

use rustix::io::Errno;

use super::{Property, Subject, property};
use crate::exporters::Refused;
use crate::sys::answer;
use crate::sys::dma_buf::{END, READ, SYNC, Sync, WRITE};
use crate::sys::ioctl::ioctl;

pub(super) const PROPERTIES: &[Property] = &[
    property("sync: read, start and end", |subject| {
        all(subject, &[READ, READ | END])
    }),
    property("sync: write, start and end", |subject| {
        all(subject, &[WRITE, WRITE | END])
    }),
    property("sync: read and write, start and end", |subject| {
        all(subject, &[READ | WRITE, READ | WRITE | END])
    }),
    property("sync: no direction", |subject| all(subject, &[0])),
    property("sync: end of no direction", |subject| all(subject, &[END])),
    property("sync: an unknown flag", |subject| all(subject, &[READ | 8])),
    property("sync: a flag of the upper half", |subject| {
        all(subject, &[READ | 1 << 40])
    }),
    property("sync: end without start", |subject| {
        all(subject, &[READ | END])
    }),
    property("sync: start twice", |subject| all(subject, &[WRITE, WRITE])),
    property("sync: end twice", |subject| {
        all(subject, &[WRITE, WRITE | END, WRITE | END])
    }),
    property("sync: end of another direction", |subject| {
        all(subject, &[READ, WRITE | END])
    }),
];

/// The answer to the last of `steps`; one before it that fails is the answer.
fn all(subject: &Subject<'_>, steps: &[u64]) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let mut last: Result<i32, Errno> = Ok(0);
    for flags in steps {
        last = ioctl(&buffer, SYNC, &mut Sync { flags: *flags });
        if last.is_err() {
            break;
        }
    }
    Ok(answer(last))
}
