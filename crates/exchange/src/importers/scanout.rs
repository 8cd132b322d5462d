//! A scanout: reads a buffer's pixels in place.

use std::time::Duration;

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::exporter::Memory;
use crate::importer::Importer;
use crate::importers::CpuAccess;
use crate::tenant::Tenant;
use crate::terms::{Direction, Method, Needs};

struct Scanout(u32);

impl Importer for Scanout {
    fn name(&self) -> String {
        format!("scanout {}", self.0)
    }

    fn needs(&self) -> Needs {
        Needs::new(Method::Cpu, Direction::Read)
    }
}

/// A buffer that a scanout shows.
#[derive(Debug)]
pub struct ScanoutImport {
    // Field order: the mapping goes before the attachment.
    memory: Memory,
    attachment: Attachment,
}

impl ScanoutImport {
    /// Attaches the buffer to scanout number `scanout`.
    pub fn attach(buffer: &Buffer, scanout: u32, tenant: &Tenant) -> Result<Self, Error> {
        let attachment = buffer.attach(&Scanout(scanout), tenant)?;
        let memory = attachment.map()?;
        Ok(Self { memory, attachment })
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Reads the pixels after all writers have ended; waits for them at most
    /// for `limit`.
    pub fn read(&self, limit: Duration) -> Result<CpuAccess<'_>, Error> {
        CpuAccess::begin(&self.attachment, &self.memory, Direction::Read, limit)
    }
}
