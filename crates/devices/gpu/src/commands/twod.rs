//! RESOURCE_CREATE_2D and RESOURCE_UNREF.

use landbridge_exchange::Buffer;
use landbridge_exchange::exporters::HostMemory;
use landbridge_exchange::importers::window::PAGE;
use landbridge_protocol_gpu::{ResourceCreate2d, ResourceRef, Response};

use crate::commands::Call;
use crate::core::Core;
use crate::error::Error;
use crate::image::Layout;
use crate::jobs::{Lanes, Task};
use crate::resources::{Kind, Place};
use crate::scanouts::Darkened;

/// Makes a resource of pixels in host memory, rows packed.
pub(crate) fn create(call: Call<'_>, create: ResourceCreate2d) -> Result<Response, Error> {
    let ResourceCreate2d {
        resource_id: id,
        format,
        width,
        height,
    } = create;
    call.state()?.resources.check_free(id)?;
    let stride = width
        .checked_mul(format.bytes_per_pixel())
        .ok_or(Error::Field {
            what: "a resource's width",
            value: width.into(),
        })?;
    let bytes = u64::from(stride) * u64::from(height);
    let layout = Layout::new((width, height), stride, 0, format, bytes)?;
    let size = bytes.checked_next_multiple_of(PAGE).ok_or(Error::Field {
        what: "a resource's height",
        value: height.into(),
    })?;
    let buffer = allocate(call.core, "virtio-gpu 2d", size)?;
    let kind = Kind::TwoD { buffer, layout };
    call.state()?.resources.insert(id, kind, None)?;
    Ok(Response::OkNoData)
}

/// Host memory for a resource: paid for before it is allocated.
pub(crate) fn allocate(core: &Core, name: &str, size: u64) -> Result<Buffer, Error> {
    let kind = core.config.host_memory;
    let make = || HostMemory::allocate(name, size, kind);
    Ok(core.exchange.publish_with(size, core.tenant(), make)?)
}

/// Destroys a resource: it leaves the window, all scanouts and all contexts.
pub(crate) fn unref(call: Call<'_>, resource: ResourceRef) -> Result<Task, Error> {
    let id = resource.resource_id;
    let mut state = call.state()?;
    let mut removed = state.resources.remove(id)?;
    let darkened = state.scanouts.darken(removed.serial);
    state.contexts.forget(id);
    drop(state);
    call.core.jobs.cancel(removed.serial, id);
    if let Place::Mapped { mapping, .. } = std::mem::take(&mut removed.place)
        && let Err(error) = mapping.unmap()
    {
        // The window keeps the place until the next reset; the id is free.
        tracing::warn!(%error, resource = id, "a destroyed blob stays mapped");
    }
    drop(removed);
    Ok(go_dark(call, darkened))
}

/// Lets go of what a resource showed, and tells the display once earlier
/// commands on those scanouts are done.
pub(crate) fn go_dark(call: Call<'_>, darkened: Darkened) -> Task {
    for (scanout, cursor) in darkened.cursors.iter() {
        let hidden = crate::display::Cursor {
            shape: None,
            ..cursor.clone()
        };
        call.core.display.cursor(*scanout, &hidden);
    }
    let lanes = Lanes {
        resource: None,
        scanouts: darkened.bits(),
    };
    let ids: Vec<u32> = darkened.pictures.iter().map(|(id, _)| *id).collect();
    drop(darkened);
    let life = call.life;
    Task::now(lanes, move |core| {
        for id in ids {
            let dark = core.state(life)?.scanouts.get_mut(id)?.shown.is_none();
            if dark {
                core.display.disabled(id);
            }
        }
        Ok(Response::OkNoData)
    })
}
