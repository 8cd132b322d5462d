//! A guest's program on the virtio-gpu driver, as the kernel's own headers
//! describe it: host blobs, dumb buffers, displays, PRIME
//! (include/uapi/drm/{virtgpu_drm,drm_mode,drm}.h).
//!
//! It is the test client of `landbridge serve`: what it sees through a stock
//! guest kernel, the scenarios compare with what our process says on the host.

mod blob;
mod card;
mod cursor;
mod fence;
mod flips;
mod kms;
mod picture;
mod shown;

pub use blob::{
    Blob, CROSS_DEVICE, GUEST, HOST3D, HOST3D_GUEST, MAPPABLE, Made, Param, RINGS, SHAREABLE,
};
pub use card::Card;
pub use fence::Submission;
pub use flips::Flips;
pub use kms::{Connector, Mode, Screen};
pub use picture::Picture;
pub use shown::Shown;

use crate::checks::KnownWarning;

/// What the stock driver says when its device goes a little too early.
pub const TAKEDOWN: KnownWarning = KnownWarning {
    function: "drm_mm_takedown",
    reason: "the driver gives an object's place back when the device answers, and a \
             device that is unbound or unplugged before gives no more answers",
};
