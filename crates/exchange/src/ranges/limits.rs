//! What segments a device can take.

/// What segments a device can take: what `dma_parms`, a queue's limits or a
/// virtio feature tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    max_segment: u64,
    align: u64,
    boundary: Option<u64>,
    width: u32,
}

/// Limits that no segment could meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:#x} {why}")]
pub struct BadLimits {
    what: &'static str,
    value: u64,
    why: &'static str,
}

/// A range that the device can't take, however it is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It, or what is left of it, is not in the device's units.
    #[error("{len:#x} bytes at {start:#x} are not multiples of {align:#x}")]
    Misaligned {
        /// Where it starts.
        start: u64,
        /// How long it is.
        len: u64,
        /// The device's unit.
        align: u64,
    },
    /// It passes the last address that the device can name.
    #[error("{len:#x} bytes at {start:#x} pass an address width of {width} bits")]
    TooHigh {
        /// Where it starts.
        start: u64,
        /// How long it is.
        len: u64,
        /// How many bits of an address the device has.
        width: u32,
    },
}

impl SegmentLimits {
    /// A device that takes everything.
    pub const NONE: Self = Self {
        max_segment: u64::MAX,
        align: 1,
        boundary: None,
        width: 64,
    };

    /// Segments have at most `bytes` bytes: rounded down to the alignment.
    pub fn max_segment(self, bytes: u64) -> Result<Self, BadLimits> {
        Self {
            max_segment: bytes,
            ..self
        }
        .check()
    }

    /// Segments start and end at multiples of `bytes`, a power of two.
    pub fn align(self, bytes: u64) -> Result<Self, BadLimits> {
        Self {
            align: bytes,
            ..self
        }
        .check()
    }

    /// No segment crosses a multiple of `bytes`, a power of two.
    pub fn boundary(self, bytes: u64) -> Result<Self, BadLimits> {
        Self {
            boundary: Some(bytes),
            ..self
        }
        .check()
    }

    /// Addresses have `bits` bits, 1 to 64.
    pub fn width(self, bits: u32) -> Result<Self, BadLimits> {
        Self {
            width: bits,
            ..self
        }
        .check()
    }

    /// The most bytes of a segment.
    #[inline]
    pub fn longest(&self) -> u64 {
        self.max_segment & !(self.align - 1)
    }

    fn check(self) -> Result<Self, BadLimits> {
        let bad = |what, value, why| Err(BadLimits { what, value, why });
        if !self.align.is_power_of_two() {
            return bad("alignment", self.align, "is not a power of two");
        }
        if self.max_segment < self.align {
            let why = "bytes are less than the alignment";
            return bad("segments of", self.max_segment, why);
        }
        match self.boundary {
            Some(bytes) if !bytes.is_power_of_two() => {
                return bad("boundary", bytes, "is not a power of two");
            }
            Some(bytes) if bytes < self.align => {
                return bad("boundary", bytes, "is less than the alignment");
            }
            _ => {}
        }
        if !(1..=64).contains(&self.width) {
            return bad("address width", self.width.into(), "is not 1 to 64 bits");
        }
        Ok(self)
    }

    /// Checks that `len` bytes at `start` can be split so that the device takes
    /// them.
    #[inline]
    pub(super) fn admit(&self, start: u64, len: u64) -> Result<(), Unfit> {
        if (start | len) & (self.align - 1) != 0 {
            let align = self.align;
            return Err(Unfit::Misaligned { start, len, align });
        }
        // The last address, which does not wrap where the end would.
        if self.width < 64 && (start + (len - 1)) >> self.width != 0 {
            let width = self.width;
            return Err(Unfit::TooHigh { start, len, width });
        }
        Ok(())
    }

    /// How many of `len` bytes at `start` the next segment has. They were
    /// admitted.
    #[inline]
    pub(super) fn take(&self, start: u64, len: u64) -> u64 {
        let mut taken = len;
        if taken > self.max_segment {
            taken = self.longest();
        }
        match self.boundary {
            // Both are multiples of the alignment, so their difference is one.
            Some(boundary) => taken.min(boundary - (start & (boundary - 1))),
            None => taken,
        }
    }
}
