//! A DRM device that imports a buffer: PRIME.

use std::os::fd::AsFd;

use landbridge_dmabuf::gem::{Device, Object};
use landbridge_dmabuf::{DmaBuf, Error as MemoryError, Loan};

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::importer::Importer;
use crate::tenant::Tenant;
use crate::terms::{Direction, Method, Needs};

struct Gpu<'a> {
    driver: &'a str,
    direction: Direction,
}

impl Importer for Gpu<'_> {
    fn name(&self) -> String {
        format!("gem of {}", self.driver)
    }

    fn needs(&self) -> Needs {
        // PRIME knows nobody who could be told to let go: a static importer.
        Needs::new(Method::Descriptor, self.direction)
    }
}

/// A buffer as an object of a DRM device.
///
/// A device that imports its own buffer gets its own object: another share in
/// the handle that is there. Only who has the object knows when the device is
/// done with it, so the loan of the memory's descriptor is never proven to be
/// over: memory that was imported once is shared for good.
#[derive(Debug)]
pub struct GemImport {
    // Field order: the handle goes before the attachment.
    object: Object,
    _loan: Loan,
    attachment: Attachment,
}

impl GemImport {
    /// Attaches and imports. Refused for memory that is no dma-buf, and by the
    /// driver for memory that its device can't have.
    pub fn attach(
        buffer: &Buffer,
        device: &Device,
        direction: Direction,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let driver = device.driver();
        let attachment = buffer.attach(&Gpu { driver, direction }, tenant)?;
        let loan = attachment.lend()?;
        let fd = loan.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|source| MemoryError::Sys {
            call: "dup",
            source,
        })?;
        let object = device.import(&DmaBuf::try_from(fd)?)?;
        Ok(Self {
            object,
            _loan: loan,
            attachment,
        })
    }

    /// The object, for the driver's own ioctls. Its bytes are reached through
    /// the exchange: see [`CpuImport`](crate::importers::cpu::CpuImport).
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Whether the device has imported its own buffer.
    pub fn is_own(&self) -> bool {
        !self.object.is_imported()
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }
}
