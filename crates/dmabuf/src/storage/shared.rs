//! Memory that this process reaches together with others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Result;
use crate::mapping::{Access, Mapping, View};
use crate::storage::Inner;

/// All of a buffer's memory, mapped shared, and counted until it is dropped.
#[derive(Debug)]
pub struct SharedMapping {
    mapping: Mapping,
    entry: Entry,
}

/// The mapping's line on the ledger.
#[derive(Debug)]
struct Entry {
    storage: Arc<Inner>,
    counted: AtomicBool,
}

impl SharedMapping {
    pub(super) fn new(storage: Arc<Inner>, access: Access) -> Result<Self> {
        // Counted first, so that nobody becomes exclusive in between; `entry`
        // takes it back if mapping fails.
        storage.ledger.add_mapping()?;
        let entry = Entry {
            storage,
            counted: AtomicBool::new(true),
        };
        let mapping = entry.storage.map_all(access)?;
        Ok(Self { mapping, entry })
    }

    /// Its bytes.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        self.mapping.view()
    }

    /// Cuts this mapping off from the memory, for good: see [`Mapping::cut`].
    /// It is no longer counted, because it no longer reaches the memory.
    ///
    /// # Errors
    /// As for [`Mapping::cut`].
    pub fn cut(&self) -> Result<()> {
        self.mapping.cut()?;
        self.entry.strike();
        Ok(())
    }
}

impl SharedMapping {
    /// Whether it was cut off from the memory.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.mapping.is_cut()
    }
}

impl Entry {
    /// Takes the line off the ledger, once.
    fn strike(&self) {
        if self.counted.swap(false, Ordering::AcqRel) {
            self.storage.ledger.drop_mapping();
        }
    }
}

// `SharedMapping` drops its fields in order: unmapped first, then uncounted.
impl Drop for Entry {
    fn drop(&mut self) {
        self.strike();
    }
}
