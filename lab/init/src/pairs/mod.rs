//! Every exporter with every importer: does the import work, and is what comes
//! of it the same buffer, byte for byte?
//!
//! As in the conformance suite, the answers make a matrix that the host keeps as
//! a golden file: a column for each exporter, and for each importer the rows of
//! [`gem`] or [`v4l2`].

pub mod gem;
pub mod v4l2;

use std::time::Duration;

use landbridge_dmabuf::{Bracketed, DmaBuf, Result};

use crate::exporters::Exported;
use std::os::fd::AsFd as _;

/// Longer than any fence here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The buffer as our crate takes it.
pub(crate) fn dma_buf(exported: &Exported) -> Result<DmaBuf> {
    let fd = exported.as_fd().try_clone_to_owned();
    DmaBuf::try_from(fd.map_err(|source| landbridge_dmabuf::Error::Sys {
        call: "dup",
        source,
    })?)
}

/// Fills all of it.
pub(crate) fn fill(memory: &Bracketed, byte: u8) -> Result<()> {
    let bracket = memory.write(PATIENCE)?;
    bracket.view().fill(0, memory.len(), byte)?;
    bracket.end()
}

/// Its first byte and its last.
fn ends(memory: &Bracketed) -> Result<[u8; 2]> {
    let bracket = memory.read(PATIENCE)?;
    let bytes = [
        bracket.view().read_at(0)?,
        bracket.view().read_at(memory.len() - 1)?,
    ];
    bracket.end()?;
    Ok(bytes)
}

/// The name of an error, or what it says where it has none.
pub(crate) fn errno_name(error: &landbridge_dmabuf::Error) -> String {
    match error.errno() {
        Some(errno) => crate::sys::errno_name(rustix::io::Errno::from_raw_os_error(errno)),
        None => error.to_string(),
    }
}
