//! A scanout: reads a buffer's pixels in place.
//!
//! Memory moves between two reads. Memory that may be taken away is refused by
//! a scanout that must not fail; one that may fail reads an error then.

use std::sync::Arc;
use std::time::Duration;

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::holder::Holder;
use crate::importer::Importer;
use crate::importers::CpuAccess;
use crate::importers::cpu::{CpuHold, MappedImport};
use crate::tenant::Tenant;
use crate::terms::{Direction, Method, Models, Needs, Revocation};

/// What a scanout does when its picture's memory is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Failing {
    /// It must not come to that: such memory is refused.
    #[default]
    Never,
    /// It shows something else.
    Allowed,
}

struct Scanout {
    number: u32,
    failing: Failing,
    hold: Arc<CpuHold>,
}

impl Importer for Scanout {
    fn name(&self) -> String {
        format!("scanout {}", self.number)
    }

    fn needs(&self) -> Needs {
        Needs {
            models: Models {
                revocable: match self.failing {
                    Failing::Never => Revocation::Refused,
                    Failing::Allowed => Revocation::Accepted,
                },
                ..Models::ANY
            },
            ..Needs::new(Method::Cpu, Direction::Read)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.hold) as Arc<_>)
    }
}

/// A buffer that a scanout shows.
#[derive(Debug)]
pub struct ScanoutImport(MappedImport);

impl ScanoutImport {
    /// Attaches the buffer to scanout number `scanout`, which must not fail.
    pub fn attach(buffer: &Buffer, scanout: u32, tenant: &Tenant) -> Result<Self, Error> {
        Self::attach_as(buffer, scanout, Failing::Never, tenant)
    }

    /// The same, for a scanout that may fail or must not.
    pub fn attach_as(
        buffer: &Buffer,
        scanout: u32,
        failing: Failing,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let hold = CpuHold::new(Direction::Read);
        let importer = Scanout {
            number: scanout,
            failing,
            hold: Arc::clone(&hold),
        };
        MappedImport::attach(buffer, &importer, hold, tenant).map(Self)
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.0.attachment
    }

    /// Reads the pixels after all writers have ended; waits for them at most
    /// for `limit`.
    pub fn read(&self, limit: Duration) -> Result<CpuAccess<'_>, Error> {
        self.0.access(Direction::Read, None, limit)
    }
}
