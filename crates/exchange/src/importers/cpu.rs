//! The CPU of this process.

use std::time::Duration;

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::exporter::Memory;
use crate::importer::Importer;
use crate::importers::CpuAccess;
use crate::tenant::Tenant;
use crate::terms::{Direction, Method, Needs};

struct Cpu<'a> {
    name: &'a str,
    direction: Direction,
}

impl Importer for Cpu<'_> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn needs(&self) -> Needs {
        Needs::new(Method::Cpu, self.direction)
    }
}

/// A CPU mapping of a whole buffer.
#[derive(Debug)]
pub struct CpuImport {
    // Field order: the mapping goes before the attachment.
    memory: Memory,
    attachment: Attachment,
}

impl CpuImport {
    /// Attaches and maps the buffer for the CPU.
    pub fn attach(
        buffer: &Buffer,
        name: &str,
        direction: Direction,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let attachment = buffer.attach(&Cpu { name, direction }, tenant)?;
        let memory = attachment.map()?;
        Ok(Self { memory, attachment })
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Access in `direction`, after conflicting work has ended; waits for it at
    /// most for `limit`.
    pub fn access(&self, direction: Direction, limit: Duration) -> Result<CpuAccess<'_>, Error> {
        CpuAccess::begin(&self.attachment, &self.memory, direction, limit)
    }
}
