//! Memory as ranges: 16 bytes each, neighbours merged, typed by the space that
//! their addresses belong to, so that an address can't reach the wrong bus.
//!
//! - [`Range`]: a start and a length in one [`Space`];
//! - [`RangeList`]: ranges in the order of a buffer's bytes, in runs that share
//!   a space and what is said of them ([`Notes`]);
//! - [`RangeSlice`]: a part of a list, or all of it, to walk: range by range,
//!   or in segments that a device can take ([`SegmentLimits`]);
//! - [`translate`]: the same bytes in another space, such as what a device's
//!   IOMMU shows it;
//! - [`CpuRanges`]: the ranges of a list that a CPU can map. A list that says
//!   nothing about a CPU mapping has none, and private memory can't say
//!   anything about one.
//!
//! A kernel scatterlist takes 32 bytes an entry, holds entries of at most
//! 4 GiB, does not merge and does not say which bus its addresses are for.

mod cpu;
mod limits;
mod list;
mod notes;
mod range;
mod segments;
mod slice;
mod space;
mod translate;

pub use cpu::{CpuRanges, WindowPiece};
pub use limits::{BadLimits, SegmentLimits, Unfit};
pub use list::{RangeList, Run};
pub use notes::{Contents, Notes, Provider};
pub use range::{BadRange, Range};
pub use segments::Segments;
pub use slice::{RangeSlice, Ranges};
pub use space::{Bus, Device, File, GuestPhysical, Space, WrongSpace};
pub use translate::{Apertures, BadAperture, Unreachable, translate};
