//! GET_DISPLAY_INFO and GET_EDID: what is connected.

use landbridge_protocol_gpu::{DisplayInfo, DisplayMode, Edid, GetEdid, Rect, Response};

use crate::commands::Call;
use crate::edid;
use crate::error::Error;

/// The outputs, side by side from left to right.
pub(crate) fn info(call: Call<'_>) -> Result<Response, Error> {
    let mut info = DisplayInfo::default();
    let mut x = 0;
    for (mode, output) in info.iter_mut().zip(&call.core.config.outputs) {
        *mode = DisplayMode {
            rect: Rect {
                x,
                ..Rect::of_size(output.width(), output.height())
            },
            enabled: output.is_connected(),
            flags: 0,
        };
        // 16 outputs of 4095 pixels at most.
        x += output.width();
    }
    Ok(Response::OkDisplayInfo(Box::new(info)))
}

/// The EDID of one output.
pub(crate) fn edid(call: Call<'_>, get: GetEdid) -> Result<Response, Error> {
    let outputs = &call.core.config.outputs;
    let index = get.scanout_id as usize;
    let output = outputs.get(index).ok_or(Error::NoScanout {
        id: get.scanout_id,
        count: outputs.len(),
    })?;
    let bytes = edid::of_output(output, index).to_vec();
    Ok(Response::OkEdid(Edid::new(bytes)?))
}
