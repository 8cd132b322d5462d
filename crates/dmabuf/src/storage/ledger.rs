//! Who reaches a buffer's memory, in numbers.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Who reaches a buffer's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Loans that are out.
    pub loans: u32,
    /// Loans that were dropped without proof that the other party let go.
    /// This number never falls.
    pub lost_loans: u32,
    /// Shared mappings in this process.
    pub mappings: u32,
    /// Whether somebody has it exclusively.
    pub exclusive: bool,
}

impl Holders {
    /// Whether nobody reaches it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anybody shares it, exclusive use aside.
    #[must_use]
    pub fn shares(&self) -> bool {
        self.loans > 0 || self.lost_loans > 0 || self.mappings > 0
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.exclusive {
            return f.write_str("held exclusively");
        }
        write!(
            f,
            "{} loans, {} lost loans, {} mappings",
            self.loans, self.lost_loans, self.mappings
        )
    }
}

/// The counts, and the rule: exclusive, or shared by any number.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    holders: Mutex<Holders>,
}

impl Ledger {
    pub(super) fn holders(&self) -> Holders {
        *self.lock()
    }

    pub(super) fn add_loan(&self) -> Result<()> {
        let mut holders = self.shareable()?;
        holders.loans = bump(holders.loans)?;
        Ok(())
    }

    pub(super) fn return_loan(&self) {
        self.lock().loans -= 1;
    }

    pub(super) fn lose_loan(&self) {
        let mut holders = self.lock();
        holders.loans -= 1;
        // Saturating is safe here: the number only matters as "not zero".
        holders.lost_loans = holders.lost_loans.saturating_add(1);
    }

    pub(super) fn add_mapping(&self) -> Result<()> {
        let mut holders = self.shareable()?;
        holders.mappings = bump(holders.mappings)?;
        Ok(())
    }

    pub(super) fn drop_mapping(&self) {
        self.lock().mappings -= 1;
    }

    pub(super) fn take_exclusive(&self) -> Result<()> {
        let mut holders = self.lock();
        if !holders.is_none() {
            return Err(Error::InUse { holders: *holders });
        }
        holders.exclusive = true;
        Ok(())
    }

    pub(super) fn drop_exclusive(&self) {
        self.lock().exclusive = false;
    }

    /// The counts, if the memory may be shared now.
    fn shareable(&self) -> Result<MutexGuard<'_, Holders>> {
        let holders = self.lock();
        if holders.exclusive {
            return Err(Error::InUse { holders: *holders });
        }
        Ok(holders)
    }

    // Each change is one assignment, so a panic can't leave the counts wrong.
    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more; wrapping round to zero would forge exclusivity.
fn bump(count: u32) -> Result<u32> {
    count.checked_add(1).ok_or(Error::OverLimit {
        what: "holders of a buffer",
        asked: u64::from(u32::MAX) + 1,
        limit: u32::MAX.into(),
    })
}
