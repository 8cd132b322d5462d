//! A mapping's line on the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Result;
use crate::storage::Inner;

/// A line on the ledger for a mapping that this process shares with others,
/// struck off when dropped, or before that.
#[derive(Debug)]
pub(crate) struct Line {
    storage: Arc<Inner>,
    counted: AtomicBool,
}

impl Line {
    pub(super) fn new(storage: Arc<Inner>) -> Result<Self> {
        storage.ledger.add_mapping()?;
        Ok(Self {
            storage,
            counted: AtomicBool::new(true),
        })
    }

    /// Takes the line off the ledger, once.
    pub(crate) fn strike(&self) {
        if self.counted.swap(false, Ordering::AcqRel) {
            self.storage.ledger.drop_mapping();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.strike();
    }
}
