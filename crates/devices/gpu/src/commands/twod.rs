//! RESOURCE_CREATE_2D.

use landbridge_exchange::importers::window::PAGE;
use landbridge_protocol_gpu::{ResourceCreate2d, Response};

use crate::commands::Call;
use crate::error::Error;
use crate::image::Layout;
use crate::resources::Kind;

/// Makes a resource of pixels in host memory, rows packed.
pub(crate) fn create(call: Call<'_>, create: ResourceCreate2d) -> Result<Response, Error> {
    let ResourceCreate2d {
        resource_id: id,
        format,
        width,
        height,
    } = create;
    let bounds = &call.core.config.bounds;
    call.state()?.resources.check_free(id, bounds)?;
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
    let buffer = call.core.allocate("virtio-gpu 2d", size)?;
    let kind = Kind::TwoD { buffer, layout };
    call.state()?.resources.insert(id, kind, None, bounds)?;
    Ok(Response::OkNoData)
}
