//! Owners of memory.

pub mod guest_pages;
pub mod host_memory;

pub use guest_pages::GuestPages;
pub use host_memory::HostMemory;
