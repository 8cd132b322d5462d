//! Ranges of a BAR.

use std::sync::Arc;

use landbridge_dmabuf::vfio::{BarRange, Device};
use landbridge_dmabuf::{Access, Bracketed, Identity, Storage};

use crate::error::Error;
use crate::exporter::Exporter;
use crate::ranges::{GuestPhysical, RangeList};
use crate::terms::{MemoryModel, Offer};

const NAME: &str = "device memory";

/// Ranges of a BAR as one dma-buf.
#[derive(Debug)]
pub(super) struct BarMemory {
    device: Arc<Device>,
    storage: Storage,
}

impl BarMemory {
    pub(super) fn export(
        device: &Arc<Device>,
        region: u32,
        ranges: &[BarRange],
    ) -> Result<Self, Error> {
        if !device.memory_is_on()? {
            return Err(Error::Export {
                exporter: NAME,
                reason: format!("the memory of {} is off", device.address()),
            });
        }
        let buffer = device.export(region, ranges)?;
        Ok(Self {
            device: Arc::clone(device),
            storage: Storage::from_foreign_dmabuf(buffer)?,
        })
    }
}

impl Exporter for BarMemory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn size(&self) -> u64 {
        self.storage.size()
    }

    fn offer(&self) -> Offer {
        Offer {
            model: MemoryModel::Revocable { restorable: true },
            writable: true,
            descriptor: true,
            peer_to_peer: true,
            ..Offer::NOTHING
        }
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.storage.identity())
    }

    fn map(&self, _: Access) -> Result<Bracketed, Error> {
        Err(Error::Export {
            exporter: NAME,
            reason: "it has no CPU mapping".to_owned(),
        })
    }

    fn storage(&self) -> Option<Storage> {
        Some(self.storage.clone())
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }

    fn restore(&self) -> Result<(), Error> {
        if self.device.memory_is_on()? {
            return Ok(());
        }
        Err(Error::Export {
            exporter: NAME,
            reason: format!("the memory of {} is off", self.device.address()),
        })
    }
}
