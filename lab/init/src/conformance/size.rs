//! How big a buffer is, and how one asks: `lseek` and `fstat`.

use rustix::fs::{SeekFrom, fstat, seek};

use super::{Property, Subject, property};
use crate::exporters::Refused;
use crate::sys::answer;

pub(super) const PROPERTIES: &[Property] = &[
    property("size: lseek to the end", end),
    property("size: lseek to 0", |subject| {
        at(subject, SeekFrom::Start(0))
    }),
    property("size: lseek to 4096", |subject| {
        at(subject, SeekFrom::Start(4096))
    }),
    property("size: lseek to the end - 1", |subject| {
        at(subject, SeekFrom::End(-1))
    }),
    property("size: lseek by 0", |subject| {
        at(subject, SeekFrom::Current(0))
    }),
    property("size: fstat", stat),
];

fn end(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let size = seek(&buffer, SeekFrom::End(0))?;
    Ok(compare(size, buffer.size()))
}

fn at(subject: &Subject<'_>, position: SeekFrom) -> Result<String, Refused> {
    Ok(answer(seek(subject.buffer()?, position)))
}

fn stat(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let size = u64::try_from(fstat(&buffer)?.st_size).unwrap_or(u64::MAX);
    Ok(compare(size, buffer.size()))
}

fn compare(size: u64, promised: u64) -> String {
    if size == promised {
        "as promised".to_owned()
    } else if size == 0 {
        "0".to_owned()
    } else if size > promised {
        format!("{} more", size - promised)
    } else {
        format!("{} less", promised - size)
    }
}
