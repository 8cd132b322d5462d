//! The owner of a buffer's memory.

use landbridge_dmabuf::{
    Access, CpuAccess as Bracket, Identity, Mapping, SharedMapping, Storage, View,
};

use crate::error::Error;
use crate::ranges::{GuestPhysical, RangeList};
use crate::terms::{Direction, Offer};

/// The owner of one buffer's memory.
///
/// # Implementers
/// What [`offer`](Exporter::offer) and [`size`](Exporter::size) say never
/// changes. A method that gives access works whenever the offer says so: `map`
/// with `cpu`, `storage` with `descriptor` or `exclusive`, `ranges` with
/// `ranges`. The memory lives as long as the exporter.
///
/// # Callers
/// Only the exchange calls these; importers get what their terms allow.
pub trait Exporter: Send + Sync {
    /// What kind of exporter it is: "memfd", "udmabuf", "guest pages".
    fn name(&self) -> &'static str;

    /// Whose memory it is, where the exporter's kind does not tell: the kernel's
    /// name for a dma-buf's exporter, or a memfd's name. Somebody else chose it.
    fn origin(&self) -> Option<&str> {
        None
    }

    /// The buffer's size in bytes: not 0.
    fn size(&self) -> u64;

    /// What it offers.
    fn offer(&self) -> Offer;

    /// The identity of the file behind the memory, where there is one file.
    fn identity(&self) -> Option<Identity>;

    /// Maps the whole memory for the CPU of this process.
    fn map(&self, access: Access) -> Result<Memory, Error>;

    /// Brackets CPU access; a bracket that does nothing where the memory needs
    /// none.
    fn begin_access(&self, direction: Direction) -> Result<Bracket<'_>, Error>;

    /// The memory with its ledger, where a descriptor can be lent: what backs
    /// the buffer now.
    fn storage(&self) -> Option<Storage>;

    /// The memory as guest-physical ranges, where the guest brought it.
    fn ranges(&self) -> Option<&RangeList<GuestPhysical>>;
}

/// A CPU mapping of a whole buffer.
#[derive(Debug)]
pub enum Memory {
    /// A mapping that the storage's ledger counts.
    Shared(SharedMapping),
    /// A mapping made of whole pages of a guest's memory.
    Stitched {
        /// The pages.
        mapping: Mapping,
        /// How many of their bytes are the buffer.
        size: usize,
    },
}

impl Memory {
    /// The mapped bytes.
    pub fn view(&self) -> View<'_> {
        match self {
            Self::Shared(mapping) => mapping.view(),
            Self::Stitched { mapping, size } => {
                let pages = mapping.view();
                // The exporter made the mapping at least this long.
                pages.sub(0, *size).unwrap_or(pages)
            }
        }
    }
}
