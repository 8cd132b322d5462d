//! Guest memory behind a resource: the list of ranges that
//! `RESOURCE_ATTACH_BACKING` and `RESOURCE_CREATE_BLOB` carry.
//!
//! Virtio 1.3, section 5.7.6.8; `struct virtio_gpu_mem_entry`,
//! `struct virtio_gpu_resource_attach_backing`.

use std::borrow::Cow;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;
use crate::body::{self, Body};

/// One range of guest-physical memory, kept in wire form so that a list can be
/// borrowed from the request. Nothing about the range has been checked.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MemEntry {
    addr: U64,
    length: U32,
    padding: U32,
}

impl MemEntry {
    /// A range of `length` bytes from guest-physical address `addr`.
    #[must_use]
    pub fn new(addr: u64, length: u32) -> Self {
        Self {
            addr: addr.into(),
            length: length.into(),
            padding: 0.into(),
        }
    }

    /// Guest-physical address of the first byte.
    #[must_use]
    pub fn addr(&self) -> u64 {
        self.addr.get()
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length.get()
    }
}

impl PartialEq for MemEntry {
    fn eq(&self, other: &Self) -> bool {
        (self.addr, self.length) == (other.addr, other.length)
    }
}

impl Eq for MemEntry {}

impl std::fmt::Debug for MemEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemEntry({:#x}+{:#x})", self.addr(), self.length())
    }
}

/// Borrows `count` entries from the front of `tail`.
pub(crate) fn entries(count: u32, tail: &[u8]) -> Result<Cow<'_, [MemEntry]>, ParseError> {
    usize::try_from(count)
        .ok()
        .and_then(|elements| <[MemEntry]>::ref_from_prefix_with_elems(tail, elements).ok())
        .map(|(entries, _)| Cow::Borrowed(entries))
        .ok_or(ParseError::TooManyEntries {
            count,
            room: tail.len() / size_of::<MemEntry>(),
        })
}

/// `RESOURCE_ATTACH_BACKING`: gives a resource its guest memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceAttachBacking<'a> {
    /// Resource to back.
    pub resource_id: u32,
    /// The memory, in the order of the resource's bytes.
    pub entries: Cow<'a, [MemEntry]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct AttachBackingWire {
    resource_id: U32,
    nr_entries: U32,
}

impl<'a> Body<'a> for ResourceAttachBacking<'a> {
    type Wire = AttachBackingWire;
    const NAME: &'static str = "virtio_gpu_resource_attach_backing";

    fn decode(wire: &'a AttachBackingWire, tail: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self {
            resource_id: wire.resource_id.get(),
            entries: entries(wire.nr_entries.get(), tail)?,
        })
    }

    fn wire(&self) -> AttachBackingWire {
        AttachBackingWire {
            resource_id: self.resource_id.into(),
            nr_entries: body::count(self.entries.len()).into(),
        }
    }

    fn tail(&self) -> &[u8] {
        self.entries.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_needs_its_bytes() {
        let tail = [0; 47];
        assert_eq!(entries(2, &tail).unwrap().len(), 2);
        for count in [3, 1 << 28, u32::MAX] {
            assert_eq!(
                entries(count, &tail),
                Err(ParseError::TooManyEntries { count, room: 2 })
            );
        }
    }

    #[test]
    fn lists_are_borrowed() {
        assert!(matches!(entries(1, &[0; 16]), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn padding_means_nothing() {
        let mut bytes = MemEntry::new(1, 2).as_bytes().to_vec();
        bytes[15] = 0xff;
        assert_eq!(entries(1, &bytes).unwrap()[0], MemEntry::new(1, 2));
    }
}
