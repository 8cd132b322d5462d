//! The calls into the kernel, and the memory they give: the crate's unsafe core.
//!
//! Each function here either is safe whatever it is called with, or says what
//! its caller owes.

pub(crate) mod drm;
pub(crate) mod fault;
pub(crate) mod fd;
pub(crate) mod ioctl;
#[cfg(feature = "iommufd")]
pub(crate) mod iommufd;
pub(crate) mod numa;
pub(crate) mod opaque;
pub(crate) mod page;
pub(crate) mod poll;
pub(crate) mod region;
pub(crate) mod uapi;
pub(crate) mod userfault;
pub(crate) mod v4l2;
pub(crate) mod vfio;
pub(crate) mod virtgpu;
