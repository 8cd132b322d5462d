//! One importer's hold on a buffer.

use std::time::Instant;

use landbridge_dmabuf::dma_buf::Readiness;
use landbridge_dmabuf::{Access, CpuAccess as Bracket, Exclusive, Loan, Storage};

use crate::buffer::{Buffer, ImporterStatus};
use crate::error::Error;
use crate::exporter::Memory;
use crate::importer::Importer;
use crate::ranges::{GuestPhysical, RangeList};
use crate::tenant::{Charge, Resource, Tenant};
use crate::terms::{Direction, Method, Refusal, Terms, Unmet};

/// One importer's hold on a buffer, under agreed terms. It gives what the
/// terms say and nothing else; dropping it detaches the importer.
#[derive(Debug)]
pub struct Attachment {
    buffer: Buffer,
    importer: String,
    number: u64,
    terms: Terms,
    _charges: Vec<Charge>,
}

impl Attachment {
    pub(crate) fn new(
        buffer: &Buffer,
        importer: &impl Importer,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let name = importer.name();
        let terms = buffer.ask(&name, &importer.needs())?;
        let mut charges = vec![tenant.charge(Resource::Attachments, 1)?];
        if terms.pins() {
            charges.push(tenant.charge(Resource::PinnedBytes, buffer.size())?);
        }
        let number = buffer.add_importer(ImporterStatus {
            name: name.clone(),
            terms,
        });
        tracing::debug!(buffer = %buffer.id(), importer = name, "attached");
        Ok(Self {
            buffer: buffer.clone(),
            importer: name,
            number,
            terms,
            _charges: charges,
        })
    }

    /// The buffer.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// What was agreed.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Who holds it.
    pub fn importer(&self) -> &str {
        &self.importer
    }

    /// The memory as guest-physical ranges. Refused unless the terms are for
    /// ranges.
    pub fn ranges(&self) -> Result<&RangeList<GuestPhysical>, Error> {
        self.require(Method::Ranges)?;
        let missing = || self.refusal(Unmet::Method(Method::Ranges));
        Ok(self.buffer.exporter().ranges().ok_or_else(missing)?)
    }

    /// Maps the whole buffer for the CPU of this process.
    pub(crate) fn map(&self) -> Result<Memory, Error> {
        self.require(Method::Cpu)?;
        let access = if self.terms.direction().writes() {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        self.buffer.exporter().map(access)
    }

    /// Checks that the terms cover access in `direction`.
    pub(crate) fn check_direction(&self, asked: Direction) -> Result<(), Refusal> {
        let agreed = self.terms.direction();
        if agreed.covers(asked) {
            Ok(())
        } else {
            Err(self.refusal(Unmet::Direction { agreed, asked }))
        }
    }

    /// Brackets CPU access in a `direction` that was checked. Devices that use the memory without
    /// our fences are waited for until `deadline`.
    pub(crate) fn begin_access(
        &self,
        direction: Direction,
        deadline: Option<Instant>,
    ) -> Result<Bracket<'_>, Error> {
        self.wait_for_devices(direction, deadline)?;
        self.buffer.exporter().begin_access(direction)
    }

    /// The whole memory as this importer's own until the value is dropped.
    /// Devices are waited for as in [`begin_access`](Self::begin_access).
    pub(crate) fn exclusive(&self, deadline: Option<Instant>) -> Result<Exclusive, Error> {
        let storage = self.storage(Method::Exclusive)?;
        self.wait_for_devices(Direction::ReadWrite, deadline)?;
        Ok(storage.exclusive()?)
    }

    /// The kernel's own wait, when a bracket opens, has no deadline; so we wait
    /// before it.
    fn wait_for_devices(
        &self,
        direction: Direction,
        deadline: Option<Instant>,
    ) -> Result<(), Error> {
        let readiness = if direction.writes() {
            Readiness::Write
        } else {
            Readiness::Read
        };
        let storage = self.buffer.exporter().storage();
        match storage.as_ref().and_then(Storage::dma_buf) {
            Some(buffer) => Ok(buffer.wait_until_ready(readiness, deadline)?),
            None => Ok(()),
        }
    }

    /// A descriptor for another process to map.
    pub(crate) fn lend(&self) -> Result<Loan, Error> {
        Ok(self.storage(Method::Descriptor)?.lend()?)
    }

    fn storage(&self, method: Method) -> Result<Storage, Error> {
        self.require(method)?;
        let missing = || self.refusal(Unmet::Method(method));
        Ok(self.buffer.exporter().storage().ok_or_else(missing)?)
    }

    fn require(&self, method: Method) -> Result<(), Refusal> {
        if self.terms.method() == method {
            Ok(())
        } else {
            Err(self.refusal(Unmet::Method(method)))
        }
    }

    fn refusal(&self, unmet: Unmet) -> Refusal {
        Refusal {
            importer: self.importer.clone(),
            exporter: self.buffer.exporter_name().to_owned(),
            unmet: vec![unmet],
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.buffer.remove_importer(self.number);
        tracing::debug!(buffer = %self.buffer.id(), importer = self.importer, "detached");
    }
}
