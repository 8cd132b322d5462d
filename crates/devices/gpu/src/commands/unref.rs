//! RESOURCE_UNREF, and what else takes a picture off the scanouts.

use landbridge_protocol_gpu::{ResourceRef, Response};

use crate::commands::Call;
use crate::display::Cursor;
use crate::error::Error;
use crate::jobs::{Lanes, Task};
use crate::resources::Place;
use crate::scanouts::Darkened;

/// Destroys a resource: it leaves the window, all scanouts and all contexts.
pub(crate) fn unref(call: Call<'_>, resource: ResourceRef) -> Result<Task, Error> {
    let id = resource.resource_id;
    let mut state = call.state()?;
    let mut removed = state.resources.remove(id)?;
    let darkened = state.scanouts.darken(removed.serial);
    state.contexts.forget(id);
    state.idle.disown(removed.serial);
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
        let hidden = Cursor {
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
