//! Owners of memory. [`fake`] is for tests.

pub mod fake;
pub mod foreign;
pub mod guest_pages;
pub mod host_memory;

pub use foreign::ForeignMemory;
pub use guest_pages::GuestPages;
pub use host_memory::HostMemory;
