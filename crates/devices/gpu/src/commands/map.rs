//! RESOURCE_MAP_BLOB and RESOURCE_UNMAP_BLOB: host blobs in the guest's window.
//!
//! The VMM is asked with no lock held: it may in turn ask this process for
//! something before it answers. Meanwhile the resource is marked as busy.

use std::sync::Arc;

use landbridge_exchange::importers::window::{Window, WindowMapping};
use landbridge_exchange::{Buffer, Caching};
use landbridge_protocol_gpu::{BlobFlags, MapCaching, ResourceMapBlob, ResourceRef, Response};

use crate::commands::Call;
use crate::error::Error;
use crate::idle::IdleMap;
use crate::resources::{Kind, Place};

/// Maps a host blob and tells the guest how to map its end.
pub(crate) fn map(call: Call<'_>, map: ResourceMapBlob) -> Result<Response, Error> {
    let id = map.resource_id;
    let (serial, buffer) = reserve(call, id)?;
    let idle = take_idle(call, serial, map.offset, &buffer);
    let mapped = match idle {
        Some(mapping) => describe(id, mapping),
        None => ask(call, id, &buffer, map.offset),
    };
    // After a reset there is nobody to tell: the exchange withdrew the mapping.
    let mut state = call.state()?;
    // Destroyed meanwhile: the mapping is dropped, after the lock, and with
    // that withdrawn.
    let resource = state.resources.same(id, serial)?;
    match mapped {
        Ok((mapping, caching)) => {
            resource.place = Place::Mapped {
                offset: map.offset,
                mapping,
            };
            Ok(Response::OkMapInfo(caching))
        }
        Err(error) => {
            resource.place = Place::None;
            Err(error)
        }
    }
}

/// Marks a blob that may be mapped as busy.
fn reserve(call: Call<'_>, id: u32) -> Result<(u64, Buffer), Error> {
    let unfit = |reason| Error::Unfit {
        resource: id,
        reason,
    };
    let mut state = call.state()?;
    let resource = state.resources.get_mut(id)?;
    let Kind::Host { buffer, flags, .. } = &resource.kind else {
        return Err(unfit("only a host blob can be mapped"));
    };
    if !flags.contains(BlobFlags::MAPPABLE) {
        return Err(unfit("it was not made to be mapped"));
    }
    if !matches!(resource.place, Place::None) {
        return Err(unfit("it is mapped already"));
    }
    let buffer = buffer.clone();
    resource.place = Place::Busy;
    Ok((resource.serial, buffer))
}

/// The resource's idle map, if it is where the guest wants it. All others that
/// are in the way go.
fn take_idle(call: Call<'_>, serial: u64, offset: u64, buffer: &Buffer) -> Option<WindowMapping> {
    let taken = call
        .state()
        .ok()?
        .idle
        .take_at(serial, offset, buffer.size());
    // Those that don't serve are unmapped as they are dropped.
    taken.into_iter().find_map(|idle| {
        let serves = idle.owner == Some(serial) && idle.offset == offset;
        (serves && idle.mapping.is_mapped()).then_some(idle.mapping)
    })
}

fn ask(
    call: Call<'_>,
    id: u32,
    buffer: &Buffer,
    offset: u64,
) -> Result<(WindowMapping, MapCaching), Error> {
    let core = call.core;
    let window: &Arc<Window> = core.window.as_ref().ok_or(Error::Unfit {
        resource: id,
        reason: "the device has no host-visible window",
    })?;
    let mapping = core.with_room(|| Ok(window.map(buffer, offset, core.tenant())?))?;
    describe(id, mapping)
}

/// A mapping, and how the guest is to map its end.
fn describe(id: u32, mapping: WindowMapping) -> Result<(WindowMapping, MapCaching), Error> {
    let caching = match mapping.caching() {
        Some(Caching::WriteBack) => MapCaching::Cached,
        Some(Caching::Uncached) => MapCaching::Uncached,
        Some(Caching::WriteCombining) => MapCaching::WriteCombining,
        // A guest would take "nothing said" as cached.
        None => {
            return Err(Error::Unfit {
                resource: id,
                reason: "nobody knows how its memory is cached",
            });
        }
    };
    Ok((mapping, caching))
}

/// Unmaps a blob, or lets its map be idle.
pub(crate) fn unmap(call: Call<'_>, resource: ResourceRef) -> Result<Response, Error> {
    let id = resource.resource_id;
    let mut state = call.state()?;
    let resource = state.resources.get_mut(id)?;
    let serial = resource.serial;
    let idles = matches!(resource.kind, Kind::Host { idles: true, .. });
    let mapping = match std::mem::replace(&mut resource.place, Place::Busy) {
        Place::Mapped { offset, mapping } if idles && mapping.is_mapped() => {
            resource.place = Place::None;
            let owner = Some(serial);
            let idle = IdleMap {
                offset,
                mapping,
                owner,
            };
            let surplus = state.idle.add(idle, call.core.config.idle_maps);
            drop(state);
            drop(surplus);
            return Ok(Response::OkNoData);
        }
        Place::Mapped { mapping, .. } => mapping,
        other => {
            resource.place = other;
            return Err(Error::Unfit {
                resource: id,
                reason: "it is not mapped",
            });
        }
    };
    // Who lets go of this one may have to be proven, and a VMM can withdraw only
    // so many from those that it announced them to.
    let idle = state.idle.take_all();
    drop(state);
    drop(idle);
    let result = mapping.unmap();
    // Gone meanwhile, by a reset or another queue: nothing is left to mark.
    if let Ok(mut state) = call.state()
        && let Ok(resource) = state.resources.same(id, serial)
    {
        resource.place = Place::None;
    }
    result.map_err(landbridge_exchange::Error::from)?;
    Ok(Response::OkNoData)
}
