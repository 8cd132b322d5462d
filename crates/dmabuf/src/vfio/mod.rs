//! PCI devices in user space: their memory as dma-bufs, and ours in their
//! address space. `include/uapi/linux/vfio.h`,
//! `Documentation/driver-api/vfio.rst`.
//!
//! A [`Container`] is an IOMMU's address space. The [`Device`]s in it reach what
//! is [mapped](Container::map) there and nothing else. A range of a device's BAR
//! leaves it as a [dma-buf](Device::export), which other devices import;
//! it has no CPU mapping.
//!
//! The kernel takes such a dma-buf away from its importers whenever the device's
//! memory goes away, and tells nobody in user space. Only who owns the device
//! can know: every call that does it says so ([`Effect`]).
//!
//! With the feature `iommufd` there is `Iommufd`, whose address spaces map files
//! and dma-bufs of VFIO themselves, without a CPU mapping, and take devices by
//! their own nodes, without a group. A [`Space`] is one or the other.

mod config;
mod container;
mod device;
#[cfg(feature = "iommufd")]
mod iommufd;
mod space;

pub use config::Effect;
pub use container::{Container, DmaMap};
pub use device::{BarRange, CONFIG_REGION, Device};
#[cfg(feature = "iommufd")]
pub use iommufd::{AddressSpace, Iommufd, IommufdMap};
pub use space::{Space, SpaceMap};
