//! The kernel as it is: ioctls, mappings and probes whose misuse is the point.
//!
//! `landbridge-dmabuf` keeps its users out of most of what is tried here, so
//! the conformance suite and the traps speak to the kernel themselves. This
//! module is the only one of the crate with unsafe code.

pub mod console;
pub mod dma_buf;
pub mod drm;
pub mod ioctl;
pub(crate) mod kms;
pub mod kvm;
pub mod memory;
pub mod privileges;
pub mod registers;
pub mod v4l2;
pub mod vfio;

pub use ioctl::{answer, errno_name};
