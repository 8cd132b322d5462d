//! How memory is cut into ranges: what an exporter promises of them, and what
//! an importer's device can take.

/// What holds of every range of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RangeShape {
    /// Every range starts at a multiple of this many bytes: a power of two.
    pub align: u64,
    /// No range has more bytes.
    pub longest: u64,
    /// Every address fits this many bits.
    pub address_bits: u8,
}

impl RangeShape {
    /// Whole pages, of which nothing else is known.
    pub const PAGES: Self = Self {
        align: 4096,
        longest: u64::MAX,
        address_bits: 64,
    };
}

/// What an importer's device can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RangeNeeds {
    /// What every range's start must be a multiple of: a power of two.
    pub align: u64,
    /// The most bytes of one range.
    pub longest: u64,
    /// Whether the importer cuts longer ranges by itself.
    pub cuts: bool,
    /// How many bits of an address the device has.
    pub address_bits: u8,
}

impl RangeNeeds {
    /// Every range will do.
    pub const ANY: Self = Self {
        align: 1,
        longest: u64::MAX,
        cuts: true,
        address_bits: 64,
    };
}
