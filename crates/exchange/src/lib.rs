//! Who may reach a buffer, and how.
//!
//! A [`Buffer`] has one owner, its [`Exporter`], and many users, its
//! [`Importer`]s. Before an importer gets anything, the two agree on
//! [`Terms`](terms::Terms): how the memory may be reached, with what caching,
//! and what may happen to it meanwhile. The [`Exchange`] enforces the terms
//! across every border: thread, process, VM. Nothing leaves it without terms.
//!
//! - [`terms`]: what an exporter offers, what an importer needs, and the
//!   negotiation that ends in terms or in a refusal that lists every unmet need;
//! - [`buffer`], [`attachment`]: the buffer and one importer's hold on it;
//! - [`exporters`], [`importers`]: who brings memory, who uses it;
//! - [`fence`], [`reservation`]: the order of their work;
//! - [`holder`], [`revoke`], [`relocate`]: what happens when memory goes or
//!   moves; [`events`]: who hears of it;
//! - [`registry`]: buffers by UUID; [`tenant`]: who pays for what.
//!
//! Locks are taken in this order: registry, one reservation, importer state.
//! None is held while a VMM is asked for something.

#![forbid(unsafe_code)]

pub mod attachment;
pub mod buffer;
pub mod caching;
mod devices;
pub mod error;
pub mod events;
pub mod exchange;
pub mod exporter;
pub mod exporters;
pub mod fence;
pub mod holder;
pub mod importer;
pub mod importers;
mod memories;
#[doc(hidden)]
pub mod mutants;
pub mod ranges;
pub mod registry;
pub mod relocate;
pub mod reservation;
pub mod revoke;
mod sync;
pub mod tenant;
pub mod terms;

pub use attachment::Attachment;
pub use buffer::{Buffer, BufferId};
pub use caching::{Caching, CachingSource, Evidence, KnownCaching};
pub use error::Error;
pub use events::{Event, Subscription, What};
pub use exchange::Exchange;
pub use exporter::Exporter;
pub use fence::{Fence, FenceSignaller};
pub use holder::{Holder, Notice};
pub use importer::Importer;
pub use registry::Registry;
pub use relocate::{MoveStats, Moved};
pub use reservation::{Life, Reservation, Usage};
pub use revoke::Revocation;
pub use tenant::{Limits, Tenant};
