//! Changing what backs a buffer, without anybody losing a write or seeing half
//! of one.
//!
//! A move fences the buffer: whoever comes later waits for it, and it waits for
//! whoever came before, so an open guard holds it back. Importers whose access
//! no fence orders hold still while the bytes are copied; then all map the new
//! memory. A move that can't have the buffer by its deadline, or meets a
//! revocation, gives up, and nothing has changed.

use std::time::{Duration, Instant};

use landbridge_dmabuf::Storage;
use landbridge_dmabuf::dma_buf::Readiness;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::events::What;
use crate::exporters::host_memory::Placement;
use crate::fence::{self, Fence, FenceSignaller, Outcome};
use crate::reservation::{Begun, Record};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::tenant::Resource;
use crate::terms::MemoryModel;

/// How a move went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// What backed the buffer, as [`Buffer::backing`] says it.
    pub from: String,
    /// What backs it now.
    pub to: String,
    /// How long it took, with all waiting.
    pub took: Duration,
    /// How long nobody could reach the memory.
    pub blackout: Duration,
}

/// What moves an exchange made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoveStats {
    /// Moves.
    pub moves: u64,
    /// Bytes that were copied by them.
    pub bytes: u64,
    /// Moves that were given up.
    pub failed: u64,
    /// Moves that were refused because there were too many.
    pub refused: u64,
}

/// The rate at which an exchange moves memory.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Paced>);

#[derive(Debug, Default)]
struct Paced {
    /// Bytes in a second; `None` is without limit.
    rate: Option<u64>,
    /// When the last move is paid for.
    free: Option<Instant>,
    stats: MoveStats,
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, Paced> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, rate: Option<u64>) {
        self.lock().rate = rate;
    }

    pub(crate) fn stats(&self) -> MoveStats {
        self.lock().stats
    }

    /// Pays for a move.
    fn take(&self, size: u64) -> Result<(), Error> {
        let mut paced = self.lock();
        let Some(rate) = paced.rate else {
            return Ok(());
        };
        let now = Instant::now();
        let left = paced
            .free
            .map(|free| free.saturating_duration_since(now))
            .filter(|left| !left.is_zero());
        if let Some(retry_after) = left {
            paced.stats.refused += 1;
            return Err(Error::MoveRate { rate, retry_after });
        }
        let cost = Duration::from_secs_f64(size as f64 / rate.max(1) as f64);
        paced.free = now.checked_add(cost);
        Ok(())
    }
}

/// A move under way. Dropped, it ends: the importers follow, and whoever waits
/// goes on.
struct Moving<'a> {
    buffer: &'a Buffer,
    signaller: Option<FenceSignaller>,
    deadline: Option<Instant>,
    /// Those that hold still.
    still: Vec<Record>,
    moved: bool,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.buffer.follow_all(&self.still, self.deadline);
        self.buffer.reservation().end_move(self.moved);
        if let Some(signaller) = self.signaller.take() {
            signaller.signal(Outcome::Done);
        }
    }
}

impl Buffer {
    /// Moves the memory to another kind of it, or to a NUMA node, at most by
    /// `limit` from now.
    ///
    /// # Errors
    /// [`Error::Promised`] where the exporter's offer does not allow it,
    /// [`Error::Pinned`] while an importer has the memory pinned,
    /// [`Error::Timeout`] or [`Error::Busy`] when somebody held it back for too
    /// long, [`Error::Revoked`], [`Error::MoveRate`], [`Error::OverLimit`] where
    /// the tenant can't pay for both memories, and the exporter's own. Nothing
    /// has changed then.
    pub fn relocate(&self, to: impl Into<Placement>, limit: Duration) -> Result<Moved, Error> {
        let result = self.try_relocate(to.into(), limit);
        let pace = self.pace();
        match &result {
            Ok(moved) => {
                self.count_copied(self.size());
                let mut paced = pace.lock();
                paced.stats.moves += 1;
                paced.stats.bytes += self.size();
                drop(paced);
                self.tell(What::Moved {
                    from: moved.from.clone(),
                    to: moved.to.clone(),
                    took: moved.took,
                });
            }
            Err(error) => {
                pace.lock().stats.failed += 1;
                self.tell(What::MoveFailed {
                    reason: error.to_string(),
                });
            }
        }
        result
    }

    fn try_relocate(&self, to: Placement, limit: Duration) -> Result<Moved, Error> {
        let model = self.offer().model;
        if !matches!(model, MemoryModel::Movable { .. }) {
            return Err(Error::Promised(model));
        }
        self.pace().take(self.size())?;
        let began = Instant::now();
        let from = self.backing();
        let deadline = fence::deadline(limit);
        // Both memories exist for a while.
        let _twice = match self.tenant() {
            Some(tenant) => Some(tenant.charge(Resource::Bytes, self.size())?),
            None => None,
        };
        let (fence, signaller) = Fence::new("a move");
        let fences = match self.reservation().begin_move(&fence, deadline) {
            Begun::Yours(fences) => fences,
            Begun::Pinned(by) => return Err(Error::Pinned { by }),
            Begun::Late(life) => return Err(Error::Busy(life)),
            _ => return Err(self.not_there()),
        };
        let mut moving = Moving {
            buffer: self,
            signaller: Some(signaller),
            deadline,
            still: Vec::new(),
            moved: false,
        };
        self.drained(&fences, deadline, limit)?;
        let storage = self.exporter().storage();
        if let Some(buffer) = storage.as_ref().and_then(Storage::dma_buf) {
            buffer.wait_until_ready(Readiness::Write, deadline)?;
        }
        let dark = Instant::now();
        for record in self.reservation().importers() {
            if let Some(holder) = record.holder.clone() {
                moving.still.push(record);
                holder.hold_still()?;
            }
        }
        let hurried = || self.reservation().is_hurried();
        self.exporter().relocate(to, &hurried)?;
        moving.moved = true;
        drop(moving);
        Ok(Moved {
            from,
            to: self.backing(),
            took: began.elapsed(),
            blackout: dark.elapsed(),
        })
    }
}
