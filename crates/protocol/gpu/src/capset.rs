//! Capability sets: what a 3D context type can do.
//!
//! Virtio 1.3, section 5.7.6.8; `struct virtio_gpu_get_capset_info`,
//! `struct virtio_gpu_get_capset`. The contents of a set are opaque here.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;
use crate::body::Body;

/// Which protocol a capability set describes. Any number may be on the wire;
/// the constants are those of the specification and the UAPI header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CapsetId(pub u32);

impl CapsetId {
    /// OpenGL by virgl, first version.
    pub const VIRGL: Self = Self(1);
    /// OpenGL by virgl, second version.
    pub const VIRGL2: Self = Self(2);
    /// Vulkan by gfxstream.
    pub const GFXSTREAM_VULKAN: Self = Self(3);
    /// Vulkan by Venus.
    pub const VENUS: Self = Self(4);
    /// Window system commands across the border, without a GPU.
    pub const CROSS_DOMAIN: Self = Self(5);
    /// Native contexts: the host's DRM driver's own commands.
    pub const DRM: Self = Self(6);
}

/// `GET_CAPSET_INFO`: asks about one of the device's capsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetCapsetInfo {
    /// From 0 below `num_capsets` of the configuration space.
    pub index: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct GetCapsetInfoWire {
    index: U32,
    padding: U32,
}

impl<'a> Body<'a> for GetCapsetInfo {
    type Wire = GetCapsetInfoWire;
    const NAME: &'static str = "virtio_gpu_get_capset_info";

    fn decode(wire: &GetCapsetInfoWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            index: wire.index.get(),
        })
    }

    fn wire(&self) -> GetCapsetInfoWire {
        GetCapsetInfoWire {
            index: self.index.into(),
            padding: 0.into(),
        }
    }
}

/// `GET_CAPSET`: asks for the contents of a capset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetCapset {
    /// Which capset.
    pub id: CapsetId,
    /// Which version of it, at most the one that the info named.
    pub version: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct GetCapsetWire {
    id: U32,
    version: U32,
}

impl<'a> Body<'a> for GetCapset {
    type Wire = GetCapsetWire;
    const NAME: &'static str = "virtio_gpu_get_capset";

    fn decode(wire: &GetCapsetWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            id: CapsetId(wire.id.get()),
            version: wire.version.get(),
        })
    }

    fn wire(&self) -> GetCapsetWire {
        GetCapsetWire {
            id: self.id.0.into(),
            version: self.version.into(),
        }
    }
}

/// `RESP_OK_CAPSET_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CapsetInfo {
    /// Which capset.
    pub id: CapsetId,
    /// Highest version on offer.
    pub max_version: u32,
    /// Most bytes that `GET_CAPSET` answers with.
    pub max_size: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CapsetInfoWire {
    id: U32,
    max_version: U32,
    max_size: U32,
    padding: U32,
}

impl<'a> Body<'a> for CapsetInfo {
    type Wire = CapsetInfoWire;
    const NAME: &'static str = "virtio_gpu_resp_capset_info";

    fn decode(wire: &CapsetInfoWire, _: &[u8]) -> Result<Self, ParseError> {
        Ok(Self {
            id: CapsetId(wire.id.get()),
            max_version: wire.max_version.get(),
            max_size: wire.max_size.get(),
        })
    }

    fn wire(&self) -> CapsetInfoWire {
        CapsetInfoWire {
            id: self.id.0.into(),
            max_version: self.max_version.into(),
            max_size: self.max_size.into(),
            padding: 0.into(),
        }
    }
}
