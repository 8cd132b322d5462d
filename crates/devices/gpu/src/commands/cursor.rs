//! UPDATE_CURSOR and MOVE_CURSOR.

use landbridge_protocol_gpu::{Cursor as Command, CursorPosition, Format, Response};

use crate::commands::Call;
use crate::display::Cursor;
use crate::error::Error;
use crate::image::{Image, Layout};
use crate::resources::{Kind, Resource};

/// A cursor's sides in pixels.
const SIDE: u32 = 64;

/// Gives the cursor a shape and a place, or hides it.
pub(crate) fn update(call: Call<'_>, command: Command) -> Result<Response, Error> {
    let scanout = command.position.scanout_id;
    let id = command.resource_id;
    let (shape, serial) = if id == 0 {
        call.state()?.scanouts.get_mut(scanout)?;
        (None, None)
    } else {
        let (shape, serial) = shape(call, scanout, id)?;
        (Some(shape), Some(serial))
    };
    let cursor = Cursor {
        shape,
        hot_spot: (command.hot_x, command.hot_y),
        position: position(command.position),
    };
    let mut state = call.state()?;
    if let Some(serial) = serial {
        state.resources.same(id, serial)?;
    }
    let scanout_state = state.scanouts.get_mut(scanout)?;
    let before = std::mem::replace(&mut scanout_state.cursor, cursor.clone());
    scanout_state.cursor_serial = serial;
    drop(state);
    drop(before);
    call.core.display.cursor(scanout, &cursor);
    Ok(Response::OkNoData)
}

/// The shape in a resource, attached to the scanout.
fn shape(call: Call<'_>, scanout: u32, id: u32) -> Result<(Image, u64), Error> {
    let (buffer, layout, serial) = {
        let mut state = call.state()?;
        state.scanouts.get_mut(scanout)?;
        let resource = state.resources.get(id)?;
        let layout = layout(id, resource)?;
        (resource.memory(id)?.clone(), layout, resource.serial)
    };
    let failing = call.core.config.scanouts;
    let image = Image::attach(&buffer, layout, scanout, failing, call.core.tenant())?;
    Ok((image, serial))
}

/// A cursor is 64 by 64 pixels. A blob says nothing about its pixels; then they
/// are packed, in the format that the Linux driver gives its cursors.
fn layout(id: u32, resource: &Resource) -> Result<Layout, Error> {
    match &resource.kind {
        Kind::TwoD { layout, .. } if (layout.width(), layout.height()) == (SIDE, SIDE) => {
            Ok(*layout)
        }
        Kind::TwoD { .. } => Err(Error::Unfit {
            resource: id,
            reason: "a cursor has 64x64 pixels",
        }),
        _ => {
            let format = Format::B8G8R8A8;
            let stride = SIDE * format.bytes_per_pixel();
            Layout::new((SIDE, SIDE), stride, 0, format, resource.size())
        }
    }
}

/// Moves the cursor; its shape stays.
pub(crate) fn moved(call: Call<'_>, command: Command) -> Result<Response, Error> {
    let scanout = command.position.scanout_id;
    let cursor = {
        let mut state = call.state()?;
        let cursor = &mut state.scanouts.get_mut(scanout)?.cursor;
        cursor.position = position(command.position);
        cursor.clone()
    };
    call.core.display.cursor(scanout, &cursor);
    Ok(Response::OkNoData)
}

/// The Linux driver sends negative positions in two's complement.
fn position(position: CursorPosition) -> (i32, i32) {
    (position.x.cast_signed(), position.y.cast_signed())
}
