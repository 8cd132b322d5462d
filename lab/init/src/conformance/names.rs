//! Names: how long one may be, and where it shows.

use std::os::fd::{AsFd, AsRawFd as _};

use super::{Property, Subject, property};
use crate::exporters::Refused;
use crate::sys::answer;
use crate::sys::dma_buf::{Name, SET_NAME_A, SET_NAME_B, set_name};

pub(super) const PROPERTIES: &[Property] = &[
    property("name: 31 letters by A", |subject| {
        set(subject, SET_NAME_A, 31)
    }),
    property("name: 31 letters by B", |subject| {
        set(subject, SET_NAME_B, 31)
    }),
    property("name: 32 letters by A", |subject| {
        set(subject, SET_NAME_A, 32)
    }),
    property("name: 32 letters by B", |subject| {
        set(subject, SET_NAME_B, 32)
    }),
    property("name: set twice", twice),
    property("name: of the exporter", |subject| {
        field(subject, "exp_name")
    }),
    property("name: fdinfo counts holders", |subject| {
        field(subject, "count")
    }),
];

fn set(subject: &Subject<'_>, op: u32, len: usize) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let set = set_name(&buffer, op, &mut Name::of(len));
    if set.is_ok() && fdinfo(&buffer, "name")?.len() != len {
        return Ok("does not show".to_owned());
    }
    Ok(answer(set))
}

fn twice(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    set_name(&buffer, SET_NAME_B, &mut Name::of(3))?;
    set_name(&buffer, SET_NAME_B, &mut Name::of(5))?;
    let len = fdinfo(&buffer, "name")?.len();
    Ok(if len == 5 { "the last" } else { "the first" }.to_owned())
}

fn field(subject: &Subject<'_>, key: &str) -> Result<String, Refused> {
    fdinfo(subject.buffer()?, key)
}

/// What /proc/self/fdinfo says of `key`; an empty answer for no such line.
fn fdinfo(fd: impl AsFd, key: &str) -> Result<String, Refused> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let value = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(found, value)| (found == key).then(|| value.trim().to_owned()));
    value.ok_or(Refused::NotOffered)
}
