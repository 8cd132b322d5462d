//! Users of buffers: what each needs, and what it gets under those terms.
//!
//! | importer | reaches the memory by | copes with |
//! |---|---|---|
//! | [`cpu`] | a volatile mapping, bracketed | all |
//! | [`decoder`] | holding the whole memory as its own for one frame | all, between frames |
//! | [`dma`] | the pages, pinned and mapped in an IOMMU's address space | pinned, revocable; movable is refused, or pinned on request |
//! | [`gem`] | a handle of a DRM device, by PRIME | pinned |
//! | [`scanout`] | a volatile read-only mapping, bracketed | pinned, movable; revocable if it may fail |
//! | [`window`] | a descriptor that the VMM maps into its guest | pinned, revocable; movable is pinned |
//!
//! [`fake`] is an importer for tests.

mod access;
pub mod cpu;
pub mod decoder;
pub mod dma;
pub mod fake;
pub mod gem;
pub mod scanout;
pub mod window;

pub use access::CpuAccess;
