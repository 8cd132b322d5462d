//! A user of a buffer.

use std::sync::Arc;

use crate::holder::Holder;
use crate::terms::Needs;

/// A user of a buffer: what it is and what it needs.
///
/// # Implementers
/// `needs` is asked once, at attach, and is binding: the attachment gives what
/// the terms say and nothing else.
pub trait Importer {
    /// Who it is, for people and for status: "decoder", "window of guest 3".
    fn name(&self) -> String;

    /// What it needs.
    fn needs(&self) -> Needs;

    /// Who is told when the memory moves or goes. Needed for terms under which
    /// it may; others are told of the exporter's death.
    fn holder(&self) -> Option<Arc<dyn Holder>> {
        None
    }
}
