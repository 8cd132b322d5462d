//! What an exporter may do to the memory while an importer holds the buffer.

use std::fmt;

/// What an exporter may do to the memory while an importer holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryModel {
    /// Nothing, until the attachment ends.
    Pinned,
    /// Take it away.
    Revocable {
        /// Whether the exporter can give it back afterwards; importers then
        /// map again.
        restorable: bool,
    },
    /// Change what backs it: importers are told, let go, and map again.
    Movable,
}

impl fmt::Display for MemoryModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned => "pinned",
            Self::Revocable { restorable: false } => "revocable",
            Self::Revocable { restorable: true } => "revocable, restorable",
            Self::Movable => "movable",
        })
    }
}

/// The memory models that an importer copes with. Every importer copes with
/// pinned memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Models {
    /// The importer lets go when it is told to.
    pub revocable: bool,
    /// The importer lets go and maps again.
    pub movable: bool,
}

impl Models {
    /// Only memory that stays where it is.
    pub const PINNED: Self = Self {
        revocable: false,
        movable: false,
    };

    /// Whether `model` is among them.
    pub fn accept(self, model: MemoryModel) -> bool {
        match model {
            MemoryModel::Pinned => true,
            MemoryModel::Revocable { .. } => self.revocable,
            MemoryModel::Movable => self.movable,
        }
    }
}
