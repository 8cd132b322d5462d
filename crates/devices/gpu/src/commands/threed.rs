//! RESOURCE_CREATE_3D and SUBMIT_3D: for a renderer, which the device has not.

use landbridge_exchange::{Buffer, Usage};
use landbridge_protocol_gpu::{Response, Submit3d};

use crate::commands::Call;
use crate::error::Error;
use crate::jobs::{Lanes, Task};

/// A texture in a renderer's own format: refused.
pub(crate) fn create(call: Call<'_>) -> Result<Response, Error> {
    Err(Error::NoRenderer(call.kind))
}

/// A command stream: refused, unless there is nothing in it to run. The Linux
/// driver sends empty ones for their fences. An empty one is complete when the
/// work is that others had begun on the context's resources: a guest that wants
/// to know when a decoder has filled its buffers asks for this fence.
pub(crate) fn submit(call: Call<'_>, submit: &Submit3d<'_>) -> Result<Task, Error> {
    let buffers = attached(call)?;
    if !submit.stream.is_empty() {
        return Err(Error::NoRenderer(call.kind));
    }
    let mut writers = Vec::new();
    for buffer in buffers {
        writers.append(&mut buffer.pending(Usage::Write)?);
    }
    // It touches nothing, so that nothing has to come after it.
    let lanes = Lanes::default();
    Ok(Task::after(writers, lanes, |_| Ok(Response::OkNoData)))
}

/// The memory of all that is attached to the context.
fn attached(call: Call<'_>) -> Result<Vec<Buffer>, Error> {
    let state = call.state()?;
    let resources = state.contexts.attached(call.header.ctx_id)?;
    // What has no memory, nobody writes.
    let memory = |id| state.resources.get(id).ok()?.memory(id).ok().cloned();
    Ok(resources.filter_map(memory).collect())
}
