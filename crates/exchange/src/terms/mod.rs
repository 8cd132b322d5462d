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

pub use model::{MemoryModel, Models};
pub use needs::{CachingNeed, Direction, Method, Needs};
pub use negotiate::{Terms, negotiate};
pub use offer::Offer;
pub use refusal::{Refusal, Unmet};
