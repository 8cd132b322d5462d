//! What the device did, in numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) commands: Counter,
    pub(crate) refused: Counter,
    pub(crate) flushes: Counter,
    pub(crate) transferred: Counter,
    pub(crate) deferred: Counter,
    pub(crate) stuck: Counter,
    pub(crate) resets: Counter,
}

/// A snapshot of what the device did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuMetrics {
    /// Commands answered, refused ones included.
    pub commands: u64,
    /// Commands answered with an error.
    pub refused: u64,
    /// Pictures handed to the display.
    pub flushes: u64,
    /// Bytes copied by transfer commands.
    pub transferred_bytes: u64,
    /// Commands that waited for other users of a buffer.
    pub deferred: u64,
    /// Commands that waited in vain.
    pub stuck: u64,
    /// Resets.
    pub resets: u64,
}

impl Metrics {
    pub(crate) fn snapshot(&self) -> GpuMetrics {
        GpuMetrics {
            commands: self.commands.get(),
            refused: self.refused.get(),
            flushes: self.flushes.get(),
            transferred_bytes: self.transferred.get(),
            deferred: self.deferred.get(),
            stuck: self.stuck.get(),
            resets: self.resets.get(),
        }
    }
}
