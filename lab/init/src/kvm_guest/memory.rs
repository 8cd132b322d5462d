//! An exchange with memory for the guest's counters.

use std::time::Duration;

use anyhow::Result;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Exchange, Exporter, Limits, Tenant};

use super::STRIDE;

/// An exchange and who pays.
#[derive(Debug)]
pub struct Host {
    exchange: Exchange,
    /// Who pays.
    pub tenant: Tenant,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            exchange: Exchange::new(),
            tenant: Tenant::new("vmm", Limits::NONE),
        }
    }
}

impl Host {
    /// `size` zeroed bytes of a kind, which may move or go as `model` says.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn buffer(&self, kind: Kind, size: u64, model: MemoryModel) -> Result<Buffer> {
        let memory = HostMemory::allocate("counters", size, kind)?.of_model(model);
        Ok(self.exchange.publish(memory, &self.tenant)?)
    }

    /// Memory of an exporter of the VMM's own.
    ///
    /// # Errors
    /// What the exchange says.
    pub fn publish(&self, memory: impl Exporter + 'static) -> Result<Buffer> {
        Ok(self.exchange.publish(memory, &self.tenant)?)
    }

    /// The word at `at` of every page of a buffer.
    ///
    /// # Errors
    /// What the exchange says.
    pub fn words(&self, buffer: &Buffer, at: usize) -> Result<Vec<u32>> {
        let cpu = CpuImport::attach(buffer, "reader", Direction::Read, &self.tenant)?;
        let access = cpu.access(Direction::Read, Duration::from_secs(5))?;
        let pages = usize::try_from(buffer.size() / STRIDE)?;
        let words = (0..pages)
            .map(|page| access.view().read_at(page * STRIDE as usize + at))
            .collect::<Result<_, _>>();
        access.end()?;
        Ok(words?)
    }
}
