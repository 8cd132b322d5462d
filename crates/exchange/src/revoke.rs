//! Taking a buffer's memory away, and giving it back.
//!
//! A revocation tells all importers under the reservation lock, from which
//! moment on nobody comes in. It waits for fences and open guards until its
//! deadline, and then cuts off whoever is left, with no lock held. When it
//! returns `Ok`, no importer can reach the memory.

use std::time::{Duration, Instant};

use landbridge_dmabuf::{Loan, Storage};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::events::What;
use crate::fence::{self, Fence, Outcome};
use crate::holder::Holder;
use crate::mutants::{Mutant, seeded};
use crate::reservation::{Begun, Drained, Record, WaitTimeout};
use crate::sync::{PoisonError, thread};
use crate::terms::MemoryModel;

/// How long somebody who has to ask others gets at least, when a deadline has
/// passed already.
const GRACE: Duration = Duration::from_millis(500);

/// How a revocation went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// It was revoked before.
    pub already: bool,
    /// How long it took.
    pub took: Duration,
    /// The work that did not end in time, if any: who did it was cut off.
    pub cut_off: Option<String>,
}

impl Buffer {
    /// Takes the memory away from all importers, at most by `limit` from now.
    ///
    /// # Errors
    /// [`Error::Promised`] where the exporter's offer does not allow it, and then
    /// nothing has changed. [`Error::StillHeld`] where somebody who could not be
    /// cut off may still reach the memory: it is revoked for all others.
    pub fn revoke(&self, limit: Duration) -> Result<Revocation, Error> {
        match self.offer().model {
            MemoryModel::Revocable { restorable } => self.take_away(restorable, limit),
            model => Err(Error::Promised(model)),
        }
    }

    /// The exporter is gone, and the memory with it, whatever was promised: it
    /// never comes back.
    ///
    /// # Errors
    /// [`Error::StillHeld`], as for [`revoke`](Self::revoke).
    pub fn lose(&self, limit: Duration) -> Result<Revocation, Error> {
        let result = self.take_away(false, limit);
        self.reservation().bury();
        result
    }

    fn take_away(&self, restorable: bool, limit: Duration) -> Result<Revocation, Error> {
        let began = Instant::now();
        let deadline = fence::deadline(limit);
        let reservation = self.reservation();
        let mut report = Revocation {
            already: false,
            took: Duration::ZERO,
            cut_off: None,
        };
        let fences = match reservation.begin_revoke(deadline) {
            Begun::Yours(fences) => fences,
            _ => {
                report.already = true;
                report.took = began.elapsed();
                return Ok(report);
            }
        };
        if let Drained::Late(label) = reservation.drain(&fences, deadline) {
            self.tell(What::CutOff {
                importer: label.clone(),
            });
            report.cut_off = Some(label);
        }
        reservation.begin_cut();
        let held = self.cut_all_off(deadline);
        let result = self.exporter().revoke(&held);
        reservation.end_revoke(restorable);
        report.took = began.elapsed();
        self.tell(What::Revoked {
            took: report.took,
            restorable,
        });
        result.map(|()| report)
    }

    /// Cuts all importers off. Returns who may still reach the memory.
    fn cut_all_off(&self, deadline: Option<Instant>) -> Vec<String> {
        let patience = patience(deadline);
        let mut held = Vec::new();
        let mut asked = Vec::new();
        for record in self.reservation().importers() {
            match record.holder.clone() {
                Some(holder) if holder.asks_others() => {
                    asked.push((ask(&record, move || holder.cut_off()), record.name));
                }
                Some(holder) => {
                    if let Err(error) = holder.cut_off() {
                        tracing::warn!(%error, importer = record.name, "not cut off");
                        held.push(record.name);
                    }
                }
                // It holds pinned memory, and nobody told it that it might go.
                None => held.push(record.name),
            }
        }
        for (answer, name) in asked {
            if answer.wait_until(patience) != Some(Outcome::Done) {
                self.tell(What::CutOff {
                    importer: name.clone(),
                });
                held.push(name);
            }
        }
        // Whoever let go without proof, or does not know that he should.
        let storage = self.exporter().storage();
        if let Some(holders) = storage.map(|storage| storage.holders())
            && !holders.is_none()
        {
            held.push(holders.to_string());
        }
        held
    }

    /// Gives the memory back: importers that are still attached map it again. A
    /// revocation that goes on is waited for, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Revoked`] where it does not come back, [`Error::Busy`] when time
    /// ran out, and the exporter's own.
    pub fn restore(&self, limit: Duration) -> Result<(), Error> {
        let deadline = fence::deadline(limit);
        let reservation = self.reservation();
        match reservation.begin_restore(deadline) {
            Begun::Yours(_) => {}
            Begun::Late(life) => return Err(Error::Busy(life)),
            Begun::No => return Err(self.not_there()),
            _ => return Ok(()),
        }
        let restored = self.exporter().restore();
        if restored.is_ok() {
            self.follow_all(&reservation.importers(), deadline);
        }
        reservation.end_restore(restored.is_ok());
        if restored.is_ok() {
            self.tell(What::Restored);
        }
        restored
    }

    /// Has importers map the memory again; those that can't are cut off.
    pub(crate) fn follow_all(&self, importers: &[Record], deadline: Option<Instant>) {
        if seeded(Mutant::NoFollow) {
            return;
        }
        let patience = patience(deadline);
        let mut asked = Vec::new();
        for record in importers {
            let Some(holder) = record.holder.clone() else {
                continue;
            };
            let (buffer, name) = (self.clone(), record.name.clone());
            let work = move || follow(&*holder, &buffer, &name);
            match &record.holder {
                Some(holder) if holder.asks_others() => asked.push(ask(record, work)),
                // Told to the log and to whoever listens.
                _ => drop(work()),
            }
        }
        for answer in asked {
            // Whoever is still at it maps the memory when he gets there.
            answer.wait_until(patience);
        }
    }

    /// Lends the descriptor of memory that is there, or on its way back: `storage`
    /// is asked for it. A revocation that has begun lends nobody anything, not even
    /// what it leaves behind for a restoration.
    pub(crate) fn lend_there(
        &self,
        storage: impl FnOnce() -> Result<Storage, Error>,
    ) -> Result<Loan, Error> {
        let presence = self.reservation().presence();
        if presence.is_err() && !seeded(Mutant::LateLoan) {
            return Err(self.not_there());
        }
        let loan = storage()?.lend()?;
        if self.reservation().presence() == presence || seeded(Mutant::LateLoan) {
            return Ok(loan);
        }
        // Nobody has seen it.
        loan.unused();
        Err(self.not_there())
    }

    /// Waits for work of before a move.
    pub(crate) fn drained(
        &self,
        fences: &[Fence],
        deadline: Option<Instant>,
        limit: Duration,
    ) -> Result<(), Error> {
        match self.reservation().drain(fences, deadline) {
            Drained::All => Ok(()),
            Drained::Late(waiting_for) => Err(WaitTimeout { limit, waiting_for }.into()),
            Drained::Hurried => Err(self.not_there()),
        }
    }
}

/// By when somebody who has to ask others is to have answered: never, where there
/// is no deadline.
fn patience(deadline: Option<Instant>) -> Option<Instant> {
    let grace = fence::deadline(GRACE)?;
    deadline.map(|deadline| deadline.max(grace))
}

fn follow(holder: &dyn Holder, buffer: &Buffer, name: &str) -> Result<(), Error> {
    let result = holder.follow(buffer);
    if let Err(error) = &result {
        tracing::warn!(%error, importer = name, "can't map the memory again");
        buffer.tell(What::CutOff {
            importer: name.to_owned(),
        });
        // It holds nothing of what it could not map.
        let _ = holder.cut_off();
    }
    result
}

/// Does `work` for an importer on a thread of its own, which may be left behind;
/// it comes after whatever the importer was asked before. Fails where the work
/// fails.
fn ask(importer: &Record, work: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Fence {
    let (answer, signaller) = Fence::new(&importer.name);
    let mut asked = importer
        .asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let before = asked.replace(answer.clone());
    drop(asked);
    let holder = importer.holder.clone();
    let spawned = thread::Builder::new()
        .name("revocation".to_owned())
        .spawn(move || {
            if let Some(before) = before.filter(|_| !seeded(Mutant::OutOfTurn)) {
                before.wait_until(None);
            }
            let outcome = match work() {
                Ok(()) => Outcome::Done,
                Err(error) => {
                    tracing::warn!(%error, "an importer did not do as told");
                    Outcome::Failed
                }
            };
            signaller.signal(outcome);
            // Nobody waits for this.
            if let Some(holder) = holder {
                holder.fill();
            }
        });
    if let Err(error) = spawned {
        // The signaller went with the closure: the fence has failed.
        tracing::warn!(%error, "no thread to ask an importer");
    }
    answer
}
