//! Not an exporter: a plain memfd, the control column of the matrix.

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::{Access, Exported, Exporter, Refused};

/// Memory that is no dma-buf.
#[derive(Debug)]
pub struct PlainMemfd;

impl Exporter for PlainMemfd {
    fn name(&self) -> &'static str {
        "memfd"
    }

    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        if access == Access::ReadOnly {
            return Err(Refused::NotOffered);
        }
        let memfd = memfd_create("control", MemfdFlags::CLOEXEC)?;
        ftruncate(&memfd, size)?;
        Ok(Exported::new(memfd, size))
    }
}
