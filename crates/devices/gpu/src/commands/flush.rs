//! RESOURCE_FLUSH: a resource's changes are to be seen.

use landbridge_exchange::Usage;
use landbridge_protocol_gpu::{Rect, ResourceFlush, Response};

use crate::commands::Call;
use crate::core::Core;
use crate::error::Error;
use crate::jobs::{Lanes, Task};
use crate::resources::Kind;
use crate::scanouts::bit;

/// Hands the changed part to the display, for each scanout that shows it, once
/// those who write it have ended.
pub(crate) fn flush(call: Call<'_>, flush: ResourceFlush) -> Result<Task, Error> {
    let state = call.state()?;
    let resource = state.resources.get(flush.resource_id)?;
    // A blob has as many layouts as scanouts; each clips for itself.
    let (width, height) = match &resource.kind {
        Kind::TwoD { layout, .. } => (layout.width(), layout.height()),
        _ => (u32::MAX, u32::MAX),
    };
    if !flush.rect.fits(width, height) {
        return Err(Error::Rectangle { width, height });
    }
    let memory = resource.memory(flush.resource_id)?.clone();
    let serial = resource.serial;
    let showing = state.scanouts.showing(serial);
    let lanes = Lanes {
        resource: Some(serial),
        scanouts: showing.fold(0, |bits, (id, _)| bits | bit(id)),
    };
    drop(state);
    let writers = memory.pending(Usage::Write)?;
    let life = call.life;
    Ok(Task::after(writers, lanes, move |core| {
        show(core, life, serial, flush.rect)
    }))
}

fn show(core: &Core, life: u64, serial: u64, flushed: Rect) -> Result<Response, Error> {
    let pictures: Vec<_> = core
        .state(life)?
        .scanouts
        .showing(serial)
        .filter_map(|(id, shown)| Some((id, shown.image.clone(), shown.damage(flushed)?)))
        .collect();
    for (_, image, _) in &pictures {
        // Nobody is shown what is not there.
        image.buffer().check_there()?;
    }
    for (scanout, image, damage) in pictures {
        core.metrics.flushes.add(1);
        core.display.flushed(scanout, &image, damage);
    }
    Ok(Response::OkNoData)
}
