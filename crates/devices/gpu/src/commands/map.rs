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
    let (serial, buffer, fresh) = reserve(call, id)?;
    let idle = take_idle(call, (serial, fresh), map.offset, &buffer);
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
            resource.was_mapped = true;
            let mapped = mapping.attachment().buffer().clone();
            let own = match &mut resource.kind {
                Kind::Host { buffer, .. } => std::mem::replace(buffer, mapped),
                _ => mapped,
            };
            resource.place = Place::Mapped {
                offset: map.offset,
                mapping,
            };
            drop(state);
            drop((own, buffer));
            Ok(Response::OkMapInfo(caching))
        }
        Err(error) => {
            resource.place = Place::None;
            Err(error)
        }
    }
}

/// Marks a blob that may be mapped as busy. Says whether it may get other memory:
/// there is nothing in its own, and nobody has it.
fn reserve(call: Call<'_>, id: u32) -> Result<(u64, Buffer, bool), Error> {
    let unfit = |reason| Error::Unfit {
        resource: id,
        reason,
    };
    let mut state = call.state()?;
    let resource = state.resources.get_mut(id)?;
    let Kind::Host {
        buffer,
        flags,
        idles,
    } = &resource.kind
    else {
        return Err(unfit("only a host blob can be mapped"));
    };
    if !flags.contains(BlobFlags::MAPPABLE) {
        return Err(unfit("it was not made to be mapped"));
    }
    if !matches!(resource.place, Place::None) {
        return Err(unfit("it is mapped already"));
    }
    let buffer = buffer.clone();
    let untouched = *idles && !resource.was_mapped;
    // The resource's, and ours.
    let fresh = untouched && buffer.handles() == 2 && buffer.check_there().is_ok();
    resource.place = Place::Busy;
    Ok((resource.serial, buffer, fresh))
}

/// An idle map that is where the guest wants one: the resource's own or, for a
/// fresh one, that of a blob of its size that is gone. All others that are in the
/// way go.
fn take_idle(
    call: Call<'_>,
    (serial, fresh): (u64, bool),
    offset: u64,
    buffer: &Buffer,
) -> Option<WindowMapping> {
    let len = buffer.size();
    let taken = call.state().ok()?.idle.take_at(serial, offset, len);
    // Those that don't serve are unmapped as they are dropped.
    taken.into_iter().find_map(|idle| {
        let there = idle.offset == offset && idle.mapping.is_mapped();
        match idle.owner {
            Some(owner) => (there && owner == serial).then_some(idle.mapping),
            None if there && fresh && idle.buffer().size() == len => renew(call, idle.mapping),
            None => None,
        }
    })
}

/// The same map, of a new buffer in the same memory.
fn renew(call: Call<'_>, mut mapping: WindowMapping) -> Option<WindowMapping> {
    let (exchange, tenant) = (&call.core.exchange, call.core.tenant());
    let old = mapping.attachment().buffer().clone();
    let renewed = exchange.renew(&old, tenant).and_then(|new| match new {
        Some(new) => mapping.hand_over(&new, tenant),
        None => Ok(false),
    });
    match renewed {
        Ok(done) => done.then_some(mapping),
        Err(error) => {
            tracing::debug!(%error, "an idle map can't be used again");
            None
        }
    }
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
