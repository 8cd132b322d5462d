//! What each command does: one file per family.
//!
//! Followed: virtio 1.3, sections 5.7.6.7 to 5.7.6.10. Where it is silent, what
//! the Linux driver and QEMU's device agree on.

mod backing;
mod blob;
mod capset;
mod context;
mod cursor;
mod display;
mod flush;
mod map;
mod scanout;
mod threed;
mod transfer;
mod twod;
mod unref;
mod uuid;

use std::sync::MutexGuard;

use landbridge_protocol_gpu::{
    CONTROL_QUEUE, CURSOR_QUEUE, Command, CommandKind, ControlHeader, Features, Request, Response,
};

pub(crate) use capset::CAPSETS;

use crate::core::{Core, State};
use crate::error::Error;
use crate::jobs::Task;

/// A command under way: who called, and in which life of the device.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) core: &'a Core,
    pub(crate) life: u64,
    pub(crate) kind: CommandKind,
    pub(crate) header: ControlHeader,
    pub(crate) features: Features,
}

impl<'a> Call<'a> {
    /// The state of the device, unless it was reset since the command came.
    fn state(&self) -> Result<MutexGuard<'a, State>, Error> {
        self.core.state(self.life)
    }

    fn has(&self, features: Features) -> bool {
        self.features.contains(features)
    }
}

/// How a command goes on.
pub(crate) enum Outcome {
    /// It is complete.
    Now(Response),
    /// It may have to wait for others.
    Later(Task),
}

impl From<Response> for Outcome {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

impl From<Task> for Outcome {
    fn from(task: Task) -> Self {
        Self::Later(task)
    }
}

/// Carries a command out, as far as that needs no waiting.
pub(crate) fn run(
    core: &Core,
    life: u64,
    queue: usize,
    request: Request<'_>,
) -> Result<Outcome, Error> {
    let call = Call {
        core,
        life,
        kind: request.command.kind(),
        header: request.header,
        features: core.features(),
    };
    admit(&call, queue)?;
    dispatch(call, request.command)
}

/// Refuses what came on the wrong queue, without its features, or for a ring
/// that can't be.
fn admit(call: &Call<'_>, queue: usize) -> Result<(), Error> {
    let right = if call.kind.is_cursor() {
        CURSOR_QUEUE
    } else {
        CONTROL_QUEUE
    };
    if queue != right {
        return Err(Error::WrongQueue {
            command: call.kind,
            queue,
        });
    }
    let features = needed(call.kind);
    if !call.has(features) {
        return Err(Error::NotNegotiated {
            command: call.kind,
            features,
        });
    }
    match call.header.ring() {
        Some(ring) if ring > MAX_RING && call.has(Features::CONTEXT_INIT) => Err(Error::Field {
            what: "a ring's index",
            value: ring.into(),
        }),
        _ => Ok(()),
    }
}

/// The highest ring index of a context.
const MAX_RING: u8 = 63;

/// The features without which a command does not exist.
fn needed(kind: CommandKind) -> Features {
    use CommandKind as Kind;
    match kind {
        Kind::GetEdid => Features::EDID,
        Kind::ResourceAssignUuid => Features::RESOURCE_UUID,
        Kind::ResourceCreateBlob | Kind::SetScanoutBlob => Features::RESOURCE_BLOB,
        Kind::ResourceMapBlob | Kind::ResourceUnmapBlob => Features::RESOURCE_BLOB,
        Kind::GetCapsetInfo | Kind::GetCapset => Features::VIRGL,
        Kind::CtxCreate | Kind::CtxDestroy => Features::VIRGL,
        Kind::CtxAttachResource | Kind::CtxDetachResource => Features::VIRGL,
        Kind::ResourceCreate3d | Kind::Submit3d => Features::VIRGL,
        Kind::TransferToHost3d | Kind::TransferFromHost3d => Features::VIRGL,
        _ => Features::empty(),
    }
}

fn dispatch(call: Call<'_>, command: Command<'_>) -> Result<Outcome, Error> {
    match command {
        Command::GetDisplayInfo => display::info(call).map(Into::into),
        Command::GetEdid(edid) => display::edid(call, edid).map(Into::into),
        Command::ResourceCreate2d(create) => twod::create(call, create).map(Into::into),
        Command::ResourceUnref(resource) => unref::unref(call, resource).map(Into::into),
        Command::ResourceAttachBacking(list) => backing::attach(call, &list).map(Into::into),
        Command::ResourceDetachBacking(resource) => backing::detach(call, resource).map(Into::into),
        Command::TransferToHost2d(copy) => transfer::to_host_2d(call, copy),
        Command::TransferToHost3d(copy) => transfer::to_host_3d(call, copy),
        Command::TransferFromHost3d(copy) => transfer::from_host_3d(call, copy),
        Command::SetScanout(scanout) => scanout::set(call, scanout).map(Into::into),
        Command::SetScanoutBlob(scanout) => scanout::set_blob(call, scanout).map(Into::into),
        Command::ResourceFlush(flush) => flush::flush(call, flush).map(Into::into),
        Command::ResourceCreateBlob(create) => blob::create(call, &create).map(Into::into),
        Command::ResourceMapBlob(map) => map::map(call, map).map(Into::into),
        Command::ResourceUnmapBlob(resource) => map::unmap(call, resource).map(Into::into),
        Command::ResourceAssignUuid(resource) => uuid::assign(call, resource).map(Into::into),
        Command::GetCapsetInfo(info) => capset::info(info).map(Into::into),
        Command::GetCapset(capset) => capset::get(capset).map(Into::into),
        Command::CtxCreate(create) => context::create(call, create).map(Into::into),
        Command::CtxDestroy => context::destroy(call).map(Into::into),
        Command::CtxAttachResource(resource) => context::attach(call, resource).map(Into::into),
        Command::CtxDetachResource(resource) => context::detach(call, resource).map(Into::into),
        Command::ResourceCreate3d(_) => threed::create(call).map(Into::into),
        Command::Submit3d(submit) => threed::submit(call, &submit).map(Into::into),
        Command::UpdateCursor(cursor) => cursor::update(call, cursor).map(Into::into),
        Command::MoveCursor(cursor) => cursor::moved(call, cursor).map(Into::into),
    }
}
