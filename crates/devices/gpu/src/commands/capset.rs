//! GET_CAPSET_INFO and GET_CAPSET: the device has none, and says so.

use landbridge_protocol_gpu::{GetCapset, GetCapsetInfo, Response};

use crate::error::Error;

/// `num_capsets` of the configuration space.
pub(crate) const CAPSETS: u32 = 0;

/// No index is below 0.
pub(crate) fn info(info: GetCapsetInfo) -> Result<Response, Error> {
    Err(Error::Field {
        what: "a capset's index",
        value: info.index.into(),
    })
}

/// No capset has this id.
pub(crate) fn get(capset: GetCapset) -> Result<Response, Error> {
    Err(Error::Field {
        what: "a capset's id",
        value: capset.id.0.into(),
    })
}
