//! RESOURCE_CREATE_3D and SUBMIT_3D: for a renderer, which the device has not.

use landbridge_protocol_gpu::{Response, Submit3d};

use crate::commands::Call;
use crate::error::Error;

/// A texture in a renderer's own format: refused.
pub(crate) fn create(call: Call<'_>) -> Result<Response, Error> {
    Err(Error::NoRenderer(call.kind))
}

/// A command stream: refused, unless there is nothing in it to run. The Linux
/// driver sends empty ones for their fences.
pub(crate) fn submit(call: Call<'_>, submit: &Submit3d<'_>) -> Result<Response, Error> {
    call.state()?.contexts.check(call.header.ctx_id)?;
    if submit.stream.is_empty() {
        return Ok(Response::OkNoData);
    }
    Err(Error::NoRenderer(call.kind))
}
