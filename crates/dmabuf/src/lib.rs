//! Linux buffer sharing, made safe: dma-buf, memfd, udmabuf, dma-heaps,
//! sync_file, GEM and PRIME, and volatile mappings of them.
//!
//! Everything above this crate talks about buffers, terms and importers; this
//! crate talks to the kernel, which takes `unsafe` code in a few modules. It
//! promises four things:
//!
//! 1. **Descriptors are typed.** [`DmaBuf`], [`Memfd`] and [`SyncFile`] are
//!    what they say; public functions take [`AsFd`] and return owned types.
//! 2. **Shared memory is never a Rust slice.** A [`Mapping`] or a [`Window`]
//!    hands out [`View`]s, whose accesses are volatile and bounds-checked,
//!    because a guest, a device or another process may write at any moment.
//! 3. **Brackets are not forgotten.** What a [`Storage`] or a [`gem`] object maps
//!    is a [`Bracketed`], whose bytes are reached within a [`Bracket`] only: with
//!    a direction and a range, after its fences. A bare [`Mapping`] of a dma-buf
//!    is for who looks after that himself.
//! 4. **Exclusive memory is proven, not hoped for.** A [`Storage`] keeps the
//!    ledger of who reaches a buffer, and gives `&mut [u8]` ([`Exclusive`])
//!    only when nobody else does.
//!
//! | Module | Follows |
//! |---|---|
//! | [`memfd`] | `memfd_create(2)`, `fcntl(2)` seals |
//! | [`udmabuf`] | `include/uapi/linux/udmabuf.h` |
//! | [`heap`] | `include/uapi/linux/dma-heap.h` |
//! | [`dma_buf`] | `include/uapi/linux/dma-buf.h`, `Documentation/driver-api/dma-buf.rst` |
//! | [`sync_file`] | `include/uapi/linux/sync_file.h` |
//! | [`vfio`] | `include/uapi/linux/vfio.h`, `include/uapi/linux/iommufd.h` |
//! | [`v4l2`] | `include/uapi/linux/videodev2.h` |
//! | [`gem`] | `include/uapi/drm/{drm,drm_mode,virtgpu_drm}.h` |
//! | [`mapping`], [`bracketed`], [`storage`] | ours |
//!
//! [`AsFd`]: std::os::fd::AsFd

pub mod bracketed;
pub mod caching;
pub mod dma_buf;
pub mod error;
pub mod gem;
pub mod heap;
pub mod identity;
pub mod mapping;
pub mod memfd;
pub mod spare;
pub mod storage;
pub mod sync_file;
mod sys;
pub mod udmabuf;
pub mod v4l2;
pub mod vfio;

pub use bracketed::{Bracket, Bracketed};
pub use caching::{Caching, KnowsCaching, Wanted};
pub use dma_buf::{Direction, DmaBuf, DmaBufOps};
pub use error::{Error, Result};
pub use identity::Identity;
pub use mapping::{Access, Area, Gate, GateKind, Gatekeeper, Mapping, Piece, View, Window};
pub use memfd::Memfd;
pub use spare::check_spare;
pub use storage::{Exclusive, LetGo, Loan, Storage};
pub use sync_file::SyncFile;
pub use sys::page::{page_size, round_up_to_page};
pub use udmabuf::Udmabuf;
