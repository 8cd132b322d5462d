//! Device id, feature bits, queues, shared memory and configuration space.
//!
//! Virtio 1.3, sections 5.7.1 to 5.7.4; `struct virtio_gpu_config`.
//! `blob_alignment` and its feature bit are from virtio 1.4.

use bitflags::bitflags;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;
use crate::body;

/// The virtio device id of a GPU.
pub const DEVICE_ID: u32 = 16;

/// Index of the queue for all commands but those of the cursor.
pub const CONTROL_QUEUE: usize = 0;
/// Index of the queue for cursor commands.
pub const CURSOR_QUEUE: usize = 1;
/// Queues of a device.
pub const NUM_QUEUES: usize = 2;

/// Most scanouts that a device may have.
pub const MAX_SCANOUTS: usize = 16;

/// Id of the shared memory region into which host blobs are mapped.
pub const SHM_ID_HOST_VISIBLE: u8 = 1;

/// Bytes of [`Config`] on the wire.
pub const CONFIG_SIZE: usize = size_of::<ConfigWire>();
/// Bytes of configuration space that a transport should expose: [`Config`]
/// rounded up to a multiple of eight, the rest zero. QEMU's vhost-user devices
/// are told this size (`config_size=24`).
pub const CONFIG_SPACE_SIZE: usize = CONFIG_SIZE.next_multiple_of(8);

bitflags! {
    /// Feature bits of the device, without those that every virtio device has.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// 3D commands and contexts. The Linux driver also demands it for host
        /// blobs.
        const VIRGL = 1 << 0;
        /// `GET_EDID`.
        const EDID = 1 << 1;
        /// `RESOURCE_ASSIGN_UUID`.
        const RESOURCE_UUID = 1 << 2;
        /// Blob resources.
        const RESOURCE_BLOB = 1 << 3;
        /// Contexts with a capset, and several timelines within a context.
        const CONTEXT_INIT = 1 << 4;
        /// [`Config::blob_alignment`] holds.
        const BLOB_ALIGNMENT = 1 << 5;
    }
}

bitflags! {
    /// Bits of [`Config::events_read`] and [`Config::events_clear`].
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Events: u32 {
        /// The display configuration has changed; the driver should ask again.
        const DISPLAY = 1 << 0;
        const _ = !0;
    }
}

/// Configuration space.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Config {
    /// Pending events; read-only for the driver.
    pub events_read: Events,
    /// Events that the driver acknowledges by writing them here.
    pub events_clear: Events,
    /// Scanouts, 1 to [`MAX_SCANOUTS`].
    pub num_scanouts: u32,
    /// Capsets that `GET_CAPSET_INFO` can enumerate.
    pub num_capsets: u32,
    /// Alignment of blob sizes and window offsets in bytes; meaningful with
    /// [`Features::BLOB_ALIGNMENT`].
    pub blob_alignment: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ConfigWire {
    events_read: U32,
    events_clear: U32,
    num_scanouts: U32,
    num_capsets: U32,
    blob_alignment: U32,
}

impl Config {
    /// Offset of `events_clear`, the one field that the driver writes.
    pub const EVENTS_CLEAR_OFFSET: usize = 4;

    /// Configuration space as a transport exposes it.
    #[must_use]
    pub fn encode(&self) -> [u8; CONFIG_SPACE_SIZE] {
        let wire = ConfigWire {
            events_read: self.events_read.bits().into(),
            events_clear: self.events_clear.bits().into(),
            num_scanouts: self.num_scanouts.into(),
            num_capsets: self.num_capsets.into(),
            blob_alignment: self.blob_alignment.into(),
        };
        let mut space = [0; CONFIG_SPACE_SIZE];
        space[..CONFIG_SIZE].copy_from_slice(wire.as_bytes());
        space
    }

    /// Reads configuration space. A device older than `blob_alignment` has
    /// only 16 bytes; the field then reads as zero.
    ///
    /// # Errors
    /// [`ParseError::TooShort`] below 16 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let what = "virtio_gpu_config";
        let (fields, rest) = body::take::<[U32; 4]>(bytes, what)?;
        let blob_alignment = body::take::<U32>(rest, what).map_or(0, |(field, _)| field.get());
        Ok(Self {
            events_read: Events::from_bits_retain(fields[0].get()),
            events_clear: Events::from_bits_retain(fields[1].get()),
            num_scanouts: fields[2].get(),
            num_capsets: fields[3].get(),
            blob_alignment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Config {
        Config {
            events_read: Events::DISPLAY,
            events_clear: Events::from_bits_retain(0x8000_0002),
            num_scanouts: 3,
            num_capsets: 4,
            blob_alignment: 0x4000,
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(CONFIG_SIZE, 20);
        assert_eq!(CONFIG_SPACE_SIZE, 24);
    }

    #[test]
    fn round_trip() {
        assert_eq!(Config::parse(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn fields_lie_in_order() {
        let expected = [1u32, 0x8000_0002, 3, 4, 0x4000, 0].map(u32::to_le_bytes);
        assert_eq!(sample().encode(), expected.as_flattened());
    }

    #[test]
    fn old_space_has_no_alignment() {
        let old = Config::parse(&sample().encode()[..16]).unwrap();
        assert_eq!(old.blob_alignment, 0);
        assert_eq!(old.num_capsets, 4);
        assert!(Config::parse(&sample().encode()[..15]).is_err());
    }
}
