//! Fences: `poll`, sync_files out and in, with a fence of vgem's where vgem can
//! import the buffer (include/uapi/drm/vgem_drm.h).

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Property, Subject, property};
use crate::exporters::{Exported, Refused};
use crate::sys::answer;
use crate::sys::dma_buf::{Fences, IMPORT_SYNC_FILE, export_sync_file};
use crate::sys::ioctl::ioctl;

const READ: u32 = 1;
const WRITE: u32 = 2;

pub(super) const PROPERTIES: &[Property] = &[
    property("poll: idle", |subject| polled(subject.buffer()?)),
    property("poll: a writer's fence", |subject| {
        with_fence(subject, true, |buffer| polled(buffer))
    }),
    property("poll: a reader's fence", |subject| {
        with_fence(subject, false, |buffer| polled(buffer))
    }),
    property("poll: after the writer's fence", |subject| {
        after_fence(subject, true)
    }),
    property("sync_file: export, idle", |subject| {
        exported(subject.buffer()?, READ | WRITE)
    }),
    property("sync_file: export to read, a writer's fence", |subject| {
        with_fence(subject, true, |buffer| exported(buffer, READ))
    }),
    property("sync_file: export to write, a writer's fence", |subject| {
        with_fence(subject, true, |buffer| exported(buffer, WRITE))
    }),
    property("sync_file: export to read, a reader's fence", |subject| {
        with_fence(subject, false, |buffer| exported(buffer, READ))
    }),
    property("sync_file: export to write, a reader's fence", |subject| {
        with_fence(subject, false, |buffer| exported(buffer, WRITE))
    }),
    property("sync_file: export with no direction", |subject| {
        exported(subject.buffer()?, 0)
    }),
    property("sync_file: export with an unknown flag", |subject| {
        exported(subject.buffer()?, READ | 4)
    }),
    property("sync_file: is a snapshot", snapshot),
    property("sync_file: import to write", |subject| {
        imported(subject, WRITE)
    }),
    property("sync_file: import to read", |subject| {
        imported(subject, READ)
    }),
    property("sync_file: import to read and write", |subject| {
        imported(subject, READ | WRITE)
    }),
    property("sync_file: import with no direction", |subject| {
        imported(subject, 0)
    }),
    property(
        "sync_file: import of something else",
        import_of_something_else,
    ),
];

/// Which of POLLIN and POLLOUT a buffer has at once.
pub(super) fn polled(buffer: impl AsFd) -> Result<String, Refused> {
    let wanted = PollFlags::IN | PollFlags::OUT;
    let mut fds = [PollFd::new(&buffer, wanted)];
    poll(&mut fds, Some(&rustix::time::Timespec::default()))?;
    let has = fds[0].revents();
    Ok(
        match (has.contains(PollFlags::IN), has.contains(PollFlags::OUT)) {
            (true, true) => "in out",
            (true, false) => "in",
            (false, true) => "out",
            (false, false) => "nothing",
        }
        .to_owned(),
    )
}

fn exported(buffer: impl AsFd, flags: u32) -> Result<String, Refused> {
    Ok(match export_sync_file(buffer, flags) {
        Ok(file) => status(&file)?,
        Err(errno) => crate::sys::errno_name(errno),
    })
}

/// A sync_file is ready to read from when its fences have signalled.
fn status(file: &OwnedFd) -> Result<String, Refused> {
    let pending = polled(file)? == "nothing";
    Ok(if pending { "pending" } else { "signalled" }.to_owned())
}

/// Asks with a fence of vgem's on the buffer.
fn with_fence(
    subject: &Subject<'_>,
    write: bool,
    ask: impl FnOnce(&Exported) -> Result<String, Refused>,
) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let Ok(handle) = subject.vgem.import(&buffer) else {
        return Err(Refused::NotOffered);
    };
    let fence = subject.vgem.attach_fence(handle, write)?;
    let answer = ask(&buffer);
    subject.vgem.signal_fence(fence)?;
    subject.vgem.close(handle)?;
    answer
}

fn after_fence(subject: &Subject<'_>, write: bool) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let Ok(handle) = subject.vgem.import(&buffer) else {
        return Err(Refused::NotOffered);
    };
    let fence = subject.vgem.attach_fence(handle, write)?;
    subject.vgem.signal_fence(fence)?;
    subject.vgem.close(handle)?;
    polled(buffer)
}

/// A sync_file that was exported idle stays signalled when a fence comes later.
fn snapshot(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let Ok(handle) = subject.vgem.import(&buffer) else {
        return Err(Refused::NotOffered);
    };
    let file = export_sync_file(&buffer, READ | WRITE)?;
    let fence = subject.vgem.attach_fence(handle, true)?;
    let status = status(&file)?;
    subject.vgem.signal_fence(fence)?;
    subject.vgem.close(handle)?;
    Ok(if status == "signalled" { "yes" } else { "no" }.to_owned())
}

/// What poll makes of a fence that came in by a sync_file, from a vgem buffer
/// that has it from its own driver.
fn imported(subject: &Subject<'_>, flags: u32) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let source = subject.vgem.dumb(4096)?;
    let exported = subject
        .vgem
        .export(source.handle, crate::sys::drm::CLOEXEC)?;
    let fence = subject.vgem.attach_fence(source.handle, true)?;
    let file = export_sync_file(&exported, READ)?;
    let import = import(&buffer, flags, &file);
    let polled = polled(&buffer);
    subject.vgem.signal_fence(fence)?;
    subject.vgem.close(source.handle)?;
    match import {
        Ok(_) => Ok(format!("then {}", polled?)),
        Err(errno) => Ok(crate::sys::errno_name(errno)),
    }
}

fn import_of_something_else(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    let null = std::fs::File::open("/dev/null")?;
    Ok(answer(import(&buffer, WRITE, null)))
}

fn import(buffer: impl AsFd, flags: u32, file: impl AsFd) -> Result<i32, Errno> {
    use std::os::fd::AsRawFd as _;
    let fd = file.as_fd().as_raw_fd();
    ioctl(buffer, IMPORT_SYNC_FILE, &mut Fences { flags, fd })
}
