//! Memory that nobody else reaches: the one place where it is a slice.
#![expect(unsafe_code, reason = "makes a slice of mapped memory")]

use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::mapping::Access;
use crate::storage::Inner;
use crate::sys::uapi::{SYNC_END, SYNC_READ, SYNC_WRITE};

/// All of a buffer's memory, and nobody else's: `&mut [u8]`.
///
/// End it with [`Exclusive::finish`]; dropping it ends it too, but can't tell
/// whether a device will see what was written.
///
/// # Invariants
/// The ledger of `storage` says "exclusive" on behalf of this value, and
/// `storage.cpu` is set, covers `size` bytes, and can be written.
#[derive(Debug)]
pub struct Exclusive {
    storage: Arc<Inner>,
    /// Whether the exporter was told that the CPU writes, and not yet that it
    /// is done.
    synced: bool,
}

impl Exclusive {
    /// Begins it; the memory's fences were waited for.
    pub(super) fn new(storage: Arc<Inner>) -> Result<Self> {
        storage.ledger.take_exclusive()?;
        // From here on `drop` takes it off the ledger.
        let mut this = Self {
            storage,
            synced: false,
        };
        if this.storage.cpu.get().is_none() {
            let mapping = this.storage.map_all(Access::ReadWrite)?;
            // Only the one exclusive holder sets it, so it is still unset.
            let _ = this.storage.cpu.set(mapping);
        }
        if let Some(buffer) = this.storage.dma_buf() {
            buffer.sync(SYNC_READ | SYNC_WRITE)?;
            this.synced = true;
        }
        Ok(this)
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        let (start, len) = self.bytes();
        // SAFETY: `start..start + len` is mapped, initialised (the kernel zeroes
        // it) and lives in `storage`, which outlives the borrow; `isize::MAX`
        // bounds every mapping. Nobody writes it meanwhile: by the invariants of
        // `Inner` and of `Self` there is no other way to the memory than this
        // value, which is borrowed.
        unsafe { slice::from_raw_parts(start, len) }
    }

    /// The bytes, to be written.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let (start, len) = self.bytes();
        // SAFETY: as in `as_slice`; this value is borrowed exclusively, so
        // nobody reads it meanwhile either, and the mapping is writable.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }

    /// Ends it: makes what was written visible to devices.
    ///
    /// # Errors
    /// [`Error::Sys`]: devices may not see what was written. It has ended all
    /// the same.
    pub fn finish(mut self) -> Result<()> {
        self.end_access()
    }

    /// Where the bytes are, and how many; none before `cpu` is set.
    fn bytes(&self) -> (*mut u8, usize) {
        match self.storage.cpu.get() {
            Some(mapping) => (mapping.start(), mapping.len()),
            None => (std::ptr::NonNull::dangling().as_ptr(), 0),
        }
    }

    fn end_access(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.synced) {
            return Ok(());
        }
        match self.storage.dma_buf() {
            Some(buffer) => buffer.sync(SYNC_READ | SYNC_WRITE | SYNC_END),
            None => Ok(()),
        }
    }
}

impl Deref for Exclusive {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for Exclusive {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        // Nobody is left to tell; whoever cares calls `finish`.
        let _ = self.end_access();
        self.storage.ledger.drop_exclusive();
    }
}
