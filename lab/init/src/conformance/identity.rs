//! Whether two descriptors are the same buffer: the inode, across `dup`,
//! another export, and an importer's re-export.

use std::os::fd::AsFd;

use rustix::fs::fstat;
use rustix::io::Errno;

use super::{Property, Subject, property};
use crate::exporters::{Access, Refused};
use crate::sys::answer;
use crate::sys::drm::{CLOEXEC, RDWR};

pub(super) const PROPERTIES: &[Property] = &[
    property("identity: of a second buffer", second),
    property("identity: of a dup", dup),
    property("identity: of a second export", again),
    property("import: into vgem", import),
    property("identity: of vgem's re-export", reexport),
];

fn second(subject: &Subject<'_>) -> Result<String, Refused> {
    Ok(compare(subject.buffer()?, subject.buffer()?)?)
}

fn dup(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let dup = rustix::io::dup(&buffer)?;
    Ok(compare(buffer, dup)?)
}

fn again(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let again = buffer.again(Access::ReadWrite)?;
    Ok(compare(buffer, again)?)
}

fn import(subject: &Subject<'_>) -> Result<String, Refused> {
    let imported = subject.vgem.import(subject.buffer()?);
    if let Ok(handle) = imported {
        subject.vgem.close(handle)?;
    }
    Ok(answer(imported))
}

fn reexport(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let Ok(handle) = subject.vgem.import(&buffer) else {
        return Err(Refused::NotOffered);
    };
    let exported = subject.vgem.export(handle, CLOEXEC | RDWR);
    subject.vgem.close(handle)?;
    Ok(compare(buffer, exported?)?)
}

fn compare(one: impl AsFd, other: impl AsFd) -> Result<String, Errno> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    let same = (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
    Ok(if same { "the same" } else { "another" }.to_owned())
}
