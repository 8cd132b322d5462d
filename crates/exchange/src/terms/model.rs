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
    Movable {
        /// Whether the exporter holds it still for an importer that asks.
        pinnable: bool,
    },
}

impl fmt::Display for MemoryModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned => "pinned",
            Self::Revocable { restorable: false } => "revocable",
            Self::Revocable { restorable: true } => "revocable, restorable",
            Self::Movable { pinnable: true } => "movable",
            Self::Movable { pinnable: false } => "movable, never pinned",
        })
    }
}

/// Which memory that may be taken away an importer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Revocation {
    /// None: it can't let go.
    #[default]
    Refused,
    /// Only what may come back.
    IfRestorable,
    /// Any.
    Accepted,
}

/// The memory models that an importer copes with. Every importer copes with
/// pinned memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Models {
    /// Whether the importer lets go when it is told to.
    pub revocable: Revocation,
    /// The importer lets go and maps again.
    pub movable: bool,
    /// Movable memory is to be pinned for an importer that can't follow it, on
    /// the account of the tenant that attaches it.
    pub pin: bool,
}

impl Models {
    /// Only memory that stays where it is by itself.
    pub const PINNED: Self = Self {
        revocable: Revocation::Refused,
        movable: false,
        pin: false,
    };

    /// All models.
    pub const ANY: Self = Self {
        revocable: Revocation::Accepted,
        movable: true,
        pin: false,
    };

    /// Whether `model` is among them as it is, without pinning it.
    pub fn accept(self, model: MemoryModel) -> bool {
        match (model, self.revocable) {
            (MemoryModel::Pinned, _) => true,
            (MemoryModel::Revocable { .. }, Revocation::Accepted) => true,
            (MemoryModel::Revocable { restorable }, Revocation::IfRestorable) => restorable,
            (MemoryModel::Revocable { .. }, Revocation::Refused) => false,
            (MemoryModel::Movable { .. }, _) => self.movable,
        }
    }

    /// Whether `model` is to be pinned for the importer, and can be.
    pub fn upgrades(self, model: MemoryModel) -> bool {
        !self.accept(model) && self.pin && model == MemoryModel::Movable { pinnable: true }
    }
}
