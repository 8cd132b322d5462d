//! Buffers of DRM devices, in the exchange once, by whichever device they come.
//!
//! A buffer that left through one device and comes back through another is a
//! GEM object there as well, of another device and with another handle; but its
//! dma-buf is the very same file. So it is known by that: [`publish`] finds the
//! buffer that is there already.

use landbridge_dmabuf::gem::Object;
use landbridge_dmabuf::{Access, Bracketed, Identity, Storage};

use crate::buffer::Buffer;
use crate::caching::KnownCaching;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::exporter::Exporter;
use crate::exporters::ForeignMemory;
use crate::ranges::{GuestPhysical, RangeList};
use crate::tenant::Tenant;
use crate::terms::Offer;

/// A GEM object, whose handle stays open as long as the buffer lives.
///
/// Importers are given its dma-buf, and the CPU maps that: an object that its
/// device has imported is mapped through the exporter it came from.
#[derive(Debug)]
pub struct GemMemory {
    memory: ForeignMemory,
    object: Object,
}

impl GemMemory {
    /// The memory of `object`, and how CPU mappings of its dma-buf are cached;
    /// `None` where nobody knows, and then no guest can map it.
    pub fn new(object: Object, caching: Option<KnownCaching>) -> Result<Self, Error> {
        let memory = ForeignMemory::dma_buf(object.export()?, caching)?;
        Ok(Self { memory, object })
    }

    /// The object.
    pub fn object(&self) -> &Object {
        &self.object
    }
}

/// Takes a GEM object in, on the account of `tenant`; or finds the buffer that
/// it is already, whatever device and account it came by, and charges nothing.
pub fn publish(
    exchange: &Exchange,
    object: Object,
    caching: Option<KnownCaching>,
    tenant: &Tenant,
) -> Result<Buffer, Error> {
    exchange.publish_once(GemMemory::new(object, caching)?, tenant)
}

impl Exporter for GemMemory {
    fn name(&self) -> &'static str {
        "gem"
    }

    fn origin(&self) -> Option<&str> {
        Some(self.object.device().driver())
    }

    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn offer(&self) -> Offer {
        self.memory.offer()
    }

    fn identity(&self) -> Option<Identity> {
        self.memory.identity()
    }

    fn map(&self, access: Access) -> Result<Bracketed, Error> {
        self.memory.map(access)
    }

    fn storage(&self) -> Option<Storage> {
        self.memory.storage()
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }
}
