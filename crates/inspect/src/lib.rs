//! What the dma-bufs of this machine are: how their mappings are cached, who holds
//! them, who imported them. Exact answers on stock kernels.
//!
//! A VMM that maps a dma-buf into a guest must tell the guest how it is cached. The
//! kernel has no call for that, so VMMs guess by driver name. The kernel does know: the
//! caching is in the page table of any mapping, and in the mapping's `vm_page_prot`. A
//! small BPF program, written for the running kernel from its own type information,
//! reads both; one query is one system call.
//!
//! [`Inspector::map_info`] asks, strongest way first, and says how it knew:
//!
//! | [`Source`] | Exact | Needs |
//! |---|---|---|
//! | `KernelIoctl` | yes | a kernel with the ioctl proposed in 2022 |
//! | `Pte` | yes, at the time | CAP_BPF and CAP_PERFMON, x86-64, no lockdown |
//! | `Vma` | yes; not given where the exporter may set the caching page by page | CAP_BPF and CAP_PERFMON |
//! | `Rule` | an estimate | nothing |
//!
//! A way that is missing says why ([`Inspector::availability`]). What nobody knows is
//! [`Error::Unknown`], never a guess.
//!
//! An unprivileged program asks a [`broker`].

pub mod aliases;
pub mod asm;
pub mod broker;
pub mod btf;
pub mod bufinfo;
mod coverage;
pub mod decode;
mod environment;
pub mod error;
mod inspector;
mod kernel;
pub mod kernel_ioctl;
mod loader;
mod map_info;
mod page_table;

pub mod probe;
pub mod procfs;
mod programs;
mod records;
pub mod report;
pub mod rules;
mod sys;
pub mod view;

pub use coverage::Coverage;
pub use decode::{Caching, Decoder};
pub use error::{Error, Reason, Result, Strength};
pub use inspector::{Availability, Config, DEFAULT_LIMIT, Inspector, MappingInfo};
pub use map_info::{MapInfo, Source};
pub use page_table::Entry;
pub use records::{Importers, KernelBuffer, Vma};
