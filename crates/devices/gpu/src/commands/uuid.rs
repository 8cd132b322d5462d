//! RESOURCE_ASSIGN_UUID: an identity for the guest's other devices.
//!
//! The identity is the buffer's, in the exchange's registry. A second
//! assignment answers with the first one. A driver must have declared a blob
//! as CROSS_DEVICE to share it with other devices (virtio 1.3, section
//! 5.7.6.8), so a blob that it did not is refused.

use landbridge_exchange::Error as ExchangeError;
use landbridge_protocol_gpu::{BlobFlags, ResourceRef, Response};

use crate::commands::Call;
use crate::error::Error;

/// Gives a resource its UUID.
pub(crate) fn assign(call: Call<'_>, resource: ResourceRef) -> Result<Response, Error> {
    let id = resource.resource_id;
    let (buffer, mapped) = {
        let mut state = call.state()?;
        let resource = state.resources.get_mut(id)?;
        let flags = resource.kind.flags();
        if flags.is_some_and(|flags| !flags.contains(BlobFlags::CROSS_DEVICE)) {
            return Err(Error::Unfit {
                resource: id,
                reason: "it was not made for other devices",
            });
        }
        let buffer = resource.memory(id)?.clone();
        (buffer, (resource.view.take(), resource.seen.take()))
    };
    // Other devices may want the memory for themselves from now on.
    drop(mapped);
    let uuid = buffer.assign_uuid().map_err(ExchangeError::from)?;
    Ok(Response::OkResourceUuid(uuid))
}
