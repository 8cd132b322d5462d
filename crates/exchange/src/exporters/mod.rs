//! Owners of memory. [`fake`] is for tests.

pub mod device_memory;
pub mod fake;
pub mod foreign;
pub mod gem;
pub mod guest_pages;
pub mod host_memory;
pub mod joiner;

pub use device_memory::DeviceOwner;
pub use foreign::ForeignMemory;
pub use gem::GemMemory;
pub use guest_pages::GuestPages;
pub use host_memory::HostMemory;
pub use joiner::Joiner;
