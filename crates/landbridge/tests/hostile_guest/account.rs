//! What the process holds.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::machine::settle;

/// What may not grow at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    descriptors: usize,
    threads: usize,
    /// Mapped regions of memfds: guests' memory and blobs.
    mappings: usize,
}

impl Account {
    pub(crate) fn take() -> Result<Self> {
        let count = |what| Ok::<_, std::io::Error>(fs::read_dir(what)?.count());
        let maps = fs::read_to_string("/proc/self/maps")?;
        Ok(Self {
            descriptors: count("/proc/self/fd")?,
            threads: count("/proc/self/task")?,
            mappings: maps.lines().filter(|line| line.contains("memfd:")).count(),
        })
    }

    /// The process holds exactly this. A thread that was joined stays visible
    /// for a moment.
    pub(crate) fn check(&self) -> Result<()> {
        settle(|| {
            let now = Self::take()?;
            ensure!(now == *self, "the process holds {now:?}, not {self:?}");
            Ok(())
        })
    }
}

/// Resident memory of the process in bytes.
pub(crate) fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("VmRSS in kB")?.trim().parse::<u64>()? << 10)
}
