//! CTX_CREATE, CTX_DESTROY, CTX_ATTACH_RESOURCE and CTX_DETACH_RESOURCE.

use landbridge_protocol_gpu::{CtxCreate, Features, ResourceRef, Response};

use crate::commands::Call;
use crate::error::Error;

/// Makes a context. It speaks no capset, because the device has none.
pub(crate) fn create(call: Call<'_>, create: CtxCreate) -> Result<Response, Error> {
    // Without the feature the field means nothing.
    if call.has(Features::CONTEXT_INIT) && create.init.0 != 0 {
        return Err(Error::Field {
            what: "a context's capset",
            value: create.init.0.into(),
        });
    }
    let bounds = &call.core.config.bounds;
    let mut state = call.state()?;
    state
        .contexts
        .create(call.header.ctx_id, create.name, bounds)?;
    Ok(Response::OkNoData)
}

/// Destroys a context. Its resources live on.
pub(crate) fn destroy(call: Call<'_>) -> Result<Response, Error> {
    call.state()?.contexts.destroy(call.header.ctx_id)?;
    Ok(Response::OkNoData)
}

/// Makes a resource usable in a context.
pub(crate) fn attach(call: Call<'_>, resource: ResourceRef) -> Result<Response, Error> {
    let bounds = &call.core.config.bounds;
    let mut state = call.state()?;
    state.contexts.check(call.header.ctx_id)?;
    state.resources.get(resource.resource_id)?;
    state
        .contexts
        .attach(call.header.ctx_id, resource.resource_id, bounds)?;
    Ok(Response::OkNoData)
}

/// Undoes that.
pub(crate) fn detach(call: Call<'_>, resource: ResourceRef) -> Result<Response, Error> {
    let mut state = call.state()?;
    state.contexts.check(call.header.ctx_id)?;
    state.resources.get(resource.resource_id)?;
    state
        .contexts
        .detach(call.header.ctx_id, resource.resource_id)?;
    Ok(Response::OkNoData)
}
