//! Parts of files as one dma-buf, so that a guest's pages can go wherever a
//! dma-buf can.

use std::fmt;
use std::os::fd::AsFd as _;

use landbridge_dmabuf::{Error, Storage, Udmabuf, udmabuf::Item};

use crate::ranges::{File, RangeSlice};

/// What the kernel's tools call such a buffer.
const NAME: &str = "guest pages";

/// Makes one dma-buf of parts of files.
///
/// # Implementers
/// The dma-buf is as long as the ranges together, and shares their memory in
/// their order. What is asked for comes from a guest: whatever it is, it is
/// made or refused, and nothing is left of what was refused.
pub trait Joiner: fmt::Debug + Send + Sync {
    /// One dma-buf of these ranges.
    fn join(&self, files: RangeSlice<'_, File>) -> Result<Storage, Error>;
}

/// The kernel's own, with its limits on items and bytes.
impl Joiner for Udmabuf {
    fn join(&self, files: RangeSlice<'_, File>) -> Result<Storage, Error> {
        let items: Vec<_> = files
            .ranges()
            .map(|(range, run)| Item {
                fd: run.space().as_fd(),
                offset: range.start(),
                len: range.len(),
            })
            .collect();
        let buffer = self.create_list(&items)?;
        buffer.set_name(NAME)?;
        // The guest has the memory too.
        Storage::from_foreign_dmabuf(buffer)
    }
}
