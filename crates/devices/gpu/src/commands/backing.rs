//! RESOURCE_ATTACH_BACKING and RESOURCE_DETACH_BACKING.
//!
//! The backing of a 2D resource or of a shadowed blob is what transfers copy
//! from; the backing of a guest blob is the blob itself.

use landbridge_protocol_gpu::{ResourceAttachBacking, ResourceRef, Response};

use crate::backing::Backing;
use crate::commands::{Call, unref};
use crate::error::Error;
use crate::jobs::Task;
use crate::resources::{Kind, Resource};
use crate::scanouts::Darkened;

/// Gives a resource its guest memory.
pub(crate) fn attach(call: Call<'_>, list: &ResourceAttachBacking<'_>) -> Result<Response, Error> {
    let id = list.resource_id;
    let (serial, needed) = {
        let state = call.state()?;
        let resource = state.resources.get(id)?;
        check(id, resource)?;
        (resource.serial, needed(resource))
    };
    if list.entries.is_empty() {
        return Err(Error::Field {
            what: "the number of backing entries",
            value: 0,
        });
    }
    let backing = match needed {
        Needed::Blob(size) => Backing::blob(call.core, &list.entries, size)?,
        Needed::Shadow(size) => Backing::shadow(call.core, &list.entries, size)?,
    };
    let mut state = call.state()?;
    let resource = state.resources.same(id, serial)?;
    check(id, resource)?;
    resource.backing = Some(backing);
    Ok(Response::OkNoData)
}

fn check(id: u32, resource: &Resource) -> Result<(), Error> {
    if matches!(resource.kind, Kind::Host { .. }) {
        return Err(Error::Unfit {
            resource: id,
            reason: "a host blob has no guest memory",
        });
    }
    if resource.backing.is_some() {
        return Err(Error::Backed(id));
    }
    Ok(())
}

/// What guest memory is to a resource, and how much of it the resource takes.
enum Needed {
    /// It is the resource.
    Blob(u64),
    /// It is copied from. A 2D resource takes whatever comes, for transfers are
    /// checked against it.
    Shadow(Option<u64>),
}

fn needed(resource: &Resource) -> Needed {
    match resource.kind {
        Kind::TwoD { .. } => Needed::Shadow(None),
        Kind::Guest { size, .. } => Needed::Blob(size),
        _ => Needed::Shadow(Some(resource.size())),
    }
}

/// Takes a resource's guest memory away. A guest blob that is shown goes dark.
pub(crate) fn detach(call: Call<'_>, resource: ResourceRef) -> Result<Task, Error> {
    let id = resource.resource_id;
    let mut state = call.state()?;
    let resource = state.resources.get_mut(id)?;
    let backing = resource.backing.take().ok_or(Error::NotBacked(id))?;
    let serial = resource.serial;
    let (seen, darkened) = if matches!(resource.kind, Kind::Guest { .. }) {
        (resource.seen.take(), state.scanouts.darken(serial))
    } else {
        (None, Darkened::default())
    };
    drop(state);
    drop((backing, seen));
    Ok(unref::go_dark(call, darkened))
}
