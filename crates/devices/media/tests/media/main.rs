//! The crate as its users see it, one file per promise.

mod bad_clips;
mod clips;
mod decode;
mod made;
mod queue;
mod reference;
