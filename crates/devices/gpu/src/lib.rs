//! The virtio-gpu device (virtio 1.3, section 5.7), without a transport.
//!
//! Commands come in as bytes, buffers live in the exchange, pictures go out to
//! a [`Display`]. The device renders nothing: it makes, shares, maps and shows
//! buffers, and copies only where the guest asks for a copy.
//!
//! The way of a command: [`Gpu`] parses it and opens its answer; the file of
//! its family in `commands` carries it out. What must wait for other users of a
//! buffer becomes a job (`jobs`), so that no queue stands still for it; answers
//! leave in the order that the guest's fences ask for (`fences`).
//!
//! | Role | Where |
//! |---|---|
//! | requests in, replies out | `device`, `answer` |
//! | one family of commands each | `commands` |
//! | what the guest made | `resources`, `backing`, `scanouts`, `contexts` |
//! | what the host offers it | [`HostObjects`] |
//! | what others see of it | [`display`], [`image`], [`status`] |
//! | order and waiting | `fences`, `jobs` |
//! | what may be asked for | [`config`], [`error`] |

#![forbid(unsafe_code)]

mod answer;
mod backing;
mod commands;
pub mod config;
mod contexts;
mod core;
mod device;
pub mod display;
mod edid;
pub mod error;
mod fences;
mod host_objects;
mod idle;
pub mod image;
mod jobs;
mod metrics;
mod resources;
mod scanouts;
pub mod status;

pub use config::{Bounds, ConfigError, GpuConfig, Mode, Output};
pub use device::Gpu;
pub use display::{Cursor, Display, FakeDisplay};
pub use error::Error;
pub use host_objects::{HostObjects, NotOffered};
pub use image::{Image, ImageAccess, Layout};
pub use metrics::GpuMetrics;
pub use status::GpuStatus;
