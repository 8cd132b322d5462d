//! SET_SCANOUT and SET_SCANOUT_BLOB: which picture a scanout shows.
//!
//! Nothing is copied: the scanout reads the resource's own memory, which for a
//! guest blob is the guest's own pages. If somebody still writes the picture,
//! the scanout changes when they end.

use landbridge_exchange::Usage;
use landbridge_protocol_gpu::{Format, Rect, Response, SetScanout, SetScanoutBlob};

use crate::commands::Call;
use crate::core::Core;
use crate::error::Error;
use crate::image::{Image, Layout};
use crate::jobs::{Lanes, Task};
use crate::resources::{Kind, Resource};
use crate::scanouts::{Shown, bit};

/// A picture that a scanout is to show.
struct Picture {
    life: u64,
    scanout: u32,
    resource: u32,
    serial: u64,
    layout: Layout,
    rect: Rect,
}

/// Shows a part of a 2D resource.
pub(crate) fn set(call: Call<'_>, set: SetScanout) -> Result<Task, Error> {
    choose(
        call,
        set.scanout_id,
        set.resource_id,
        set.rect,
        |resource| match &resource.kind {
            Kind::TwoD { layout, .. } => Ok(*layout),
            _ => Err(Error::Unfit {
                resource: set.resource_id,
                reason: "a blob's layout comes with SET_SCANOUT_BLOB",
            }),
        },
    )
}

/// Shows a part of a picture in a blob.
pub(crate) fn set_blob(call: Call<'_>, set: SetScanoutBlob) -> Result<Task, Error> {
    choose(
        call,
        set.scanout_id,
        set.resource_id,
        set.rect,
        |resource| {
            if matches!(resource.kind, Kind::TwoD { .. }) {
                return Err(Error::Unfit {
                    resource: set.resource_id,
                    reason: "it is no blob",
                });
            }
            let format: Format = set.format()?;
            let [stride, strides @ ..] = set.strides;
            let [offset, offsets @ ..] = set.offsets;
            // All formats that there are have one plane.
            if let Some(more) = strides.into_iter().chain(offsets).find(|field| *field != 0) {
                return Err(Error::Field {
                    what: "a second plane's stride or offset",
                    value: more.into(),
                });
            }
            let size = (set.width, set.height);
            Layout::new(size, stride, offset.into(), format, resource.size())
        },
    )
}

/// Turns a scanout off, or shows the part `rect` of a resource's picture, whose
/// layout `whole` tells.
fn choose(
    call: Call<'_>,
    scanout: u32,
    id: u32,
    rect: Rect,
    whole: impl FnOnce(&Resource) -> Result<Layout, Error>,
) -> Result<Task, Error> {
    let mut state = call.state()?;
    state.scanouts.get_mut(scanout)?;
    if id == 0 {
        return Ok(turn_off(call.life, scanout));
    }
    let resource = state.resources.get(id)?;
    let picture = Picture {
        life: call.life,
        scanout,
        resource: id,
        serial: resource.serial,
        layout: whole(resource)?.crop(rect)?,
        rect,
    };
    let memory = resource.memory(id)?.clone();
    drop(state);
    let writers = memory.pending(Usage::Write)?;
    let lanes = Lanes {
        resource: Some(picture.serial),
        scanouts: bit(scanout),
    };
    Ok(Task::after(writers, lanes, move |core| {
        show(core, &picture)
    }))
}

fn turn_off(life: u64, scanout: u32) -> Task {
    let lanes = Lanes {
        resource: None,
        scanouts: bit(scanout),
    };
    Task::now(lanes, move |core| {
        let shown = core.state(life)?.scanouts.get_mut(scanout)?.shown.take();
        if shown.is_some() {
            drop(shown);
            core.display.disabled(scanout);
        }
        Ok(Response::OkNoData)
    })
}

fn show(core: &Core, picture: &Picture) -> Result<Response, Error> {
    let image = attach(core, picture)?;
    let mut state = core.state(picture.life)?;
    let resource = state.resources.same(picture.resource, picture.serial)?;
    let kept = resource
        .is_kept_mapped()
        .then(|| (picture.scanout, image.clone()));
    let seen = std::mem::replace(&mut resource.seen, kept);
    let scanout = state.scanouts.get_mut(picture.scanout)?;
    let before = scanout.shown.replace(Shown {
        resource: picture.resource,
        serial: picture.serial,
        image,
        rect: picture.rect,
    });
    drop(state);
    drop((before, seen));
    Ok(Response::OkNoData)
}

/// The picture's buffer, attached to the scanout: anew, or as it is already.
fn attach(core: &Core, picture: &Picture) -> Result<Image, Error> {
    let buffer = {
        let mut state = core.state(picture.life)?;
        let resource = state.resources.same(picture.resource, picture.serial)?;
        let buffer = resource.memory(picture.resource)?.clone();
        let seen = resource.seen.as_ref();
        let seen = seen.filter(|(scanout, _)| *scanout == picture.scanout);
        let seen = seen.map(|(_, image)| image.clone());
        let shown = state.scanouts.get_mut(picture.scanout)?.shown.as_ref();
        let attached = seen.or_else(|| shown.map(|shown| shown.image.clone()));
        match attached {
            Some(image) if image.buffer().id() == buffer.id() => {
                buffer.check_there().map_err(Error::from)?;
                return Ok(image.with_layout(picture.layout));
            }
            _ => buffer,
        }
    };
    let failing = core.config.scanouts;
    let (layout, scanout) = (picture.layout, picture.scanout);
    Image::attach(&buffer, layout, scanout, failing, core.tenant())
}
