//! Identity of a resource across devices.
//!
//! Virtio 1.3, section 5.7.6.8; `struct virtio_gpu_resp_resource_uuid`. The
//! command, `RESOURCE_ASSIGN_UUID`, has a [`ResourceRef`](crate::ResourceRef)
//! for its body. The bytes of a UUID are sent in the order of its text form.

use ::uuid::Uuid;

use crate::ParseError;
use crate::body::Body;

impl<'a> Body<'a> for Uuid {
    type Wire = [u8; 16];
    const NAME: &'static str = "virtio_gpu_resp_resource_uuid";

    fn decode(wire: &[u8; 16], _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self::from_bytes(*wire))
    }

    fn wire(&self) -> [u8; 16] {
        *self.as_bytes()
    }
}
