//! What an exporter offers, what an importer needs, and what they agree on.
//!
//! The agreement is made once, at attach: [`negotiate`] answers with
//! [`Terms`], or with a [`Refusal`] that lists every unmet need. It is a pure
//! function of the two sides, so an importer can ask without attaching.

mod model;
mod needs;
mod negotiate;
mod offer;
mod refusal;
mod shape;

pub use model::{MemoryModel, Models, Revocation};
pub use needs::{CachingNeed, Direction, Method, Needs, Snooping};
pub use negotiate::{Terms, negotiate};
pub use offer::Offer;
pub use refusal::{Refusal, Unmet};
pub use shape::{RangeNeeds, RangeShape};
