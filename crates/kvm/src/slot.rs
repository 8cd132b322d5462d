//! One slot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landbridge_dmabuf::{Access, Area, Gate, GateKind, Piece};

use crate::error::Error;
use crate::slots::{Claim, Slots};
use crate::sys::{self, Gone, Inserted};

/// What the guest meets where memory was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnRevoke {
    /// Zero pages that nobody else sees: it reads zeros, and what it writes
    /// lasts until the memory comes back. It notices nothing else.
    #[default]
    Zeroes,
    /// No memory: its accesses are MMIO exits, which the VMM answers as it
    /// likes. Instructions that KVM can't emulate end in an internal error
    /// there, unless the VMM has `KVM_CAP_EXIT_ON_EMULATION_FAILURE` on.
    Removed,
}

/// How a slot is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotOptions {
    /// Whether the guest can write. Where it can't, a write is an MMIO exit.
    pub access: Access,
    /// Whether KVM logs which pages the guest writes.
    pub log_dirty: bool,
    /// What the guest meets where memory was taken away.
    pub on_revoke: OnRevoke,
}

impl Default for SlotOptions {
    /// Writable, not logged, zeros on revocation.
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            log_dirty: false,
            on_revoke: OnRevoke::default(),
        }
    }
}

/// Which pages of a slot were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyPages {
    words: Vec<u64>,
    pages: usize,
}

impl DirtyPages {
    /// The numbers of the pages, in order.
    pub fn pages(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.pages).filter(|page| self.words[page / 64] >> (page % 64) & 1 == 1)
    }
}

/// Memory at some addresses of a guest. Dropping it takes it out of the guest.
#[derive(Debug)]
pub struct Slot {
    // Field order: out of the guest, then out of our address space, then free
    // for others.
    state: Mutex<State>,
    area: Arc<Area>,
    claim: Claim,
    options: SlotOptions,
    /// All its bytes changed, which no log has.
    rewritten: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// `None` while it is out of the guest.
    inserted: Option<Inserted>,
    /// While its memory is being moved.
    gate: Option<Gate>,
}

impl Slot {
    /// Puts `piece` of some memory at `guest_address` of the guest.
    pub fn insert(
        slots: &Arc<Slots>,
        guest_address: u64,
        piece: &Piece<'_>,
        options: SlotOptions,
    ) -> Result<Self, Error> {
        Self::try_insert(slots, guest_address, piece, options).map_err(|(error, _)| error)
    }

    /// As [`insert`](Self::insert): when it fails, nothing shows the piece.
    pub(crate) fn try_insert(
        slots: &Arc<Slots>,
        guest_address: u64,
        piece: &Piece<'_>,
        options: SlotOptions,
    ) -> Result<Self, (Error, Gone)> {
        // The area, if there is one, was dropped by then.
        Self::make(slots, guest_address, piece, options).map_err(|error| (error, Gone::from_area()))
    }

    fn make(
        slots: &Arc<Slots>,
        guest_address: u64,
        piece: &Piece<'_>,
        options: SlotOptions,
    ) -> Result<Self, Error> {
        let claim = slots.claim(guest_address, piece.len())?;
        let len = usize::try_from(piece.len()).map_err(|_| Error::BadPlace {
            guest_address,
            len: piece.len(),
            reason: "it is more than this process can address",
        })?;
        let area = Arc::new(Area::new(len, options.access)?);
        area.show(piece)?;
        area.touch();
        let slot = Self {
            state: Mutex::new(State {
                inserted: None,
                gate: None,
            }),
            area,
            claim,
            options,
            rewritten: AtomicBool::new(false),
        };
        slot.state().inserted = Some(slot.put_in()?);
        Ok(slot)
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.claim.place().number
    }

    /// Where the guest sees it.
    pub fn guest_address(&self) -> u64 {
        self.claim.place().guest_address
    }

    /// What the guest sees, for this process.
    pub fn area(&self) -> &Arc<Area> {
        &self.area
    }

    /// Whether the guest has it.
    pub fn is_inserted(&self) -> bool {
        self.state().inserted.is_some()
    }

    /// Holds the guest off: its writes wait, and where the memory is a driver's
    /// its reads do too, until [`show`](Self::show), [`let_go`](Self::let_go) or
    /// [`resume`](Self::resume). Meanwhile the memory holds still, to be copied
    /// through another mapping. Nothing happens to a slot that is out of the
    /// guest.
    pub fn hold(&self) -> Result<Option<GateKind>, Error> {
        let keeper = self.slots().keeper()?;
        let mut state = self.state();
        if state.inserted.is_none() {
            return Ok(None);
        }
        let change = self.slots().changes.begin();
        let gate = self.area.gate(keeper)?;
        let kind = gate.kind();
        state.gate = Some(gate);
        // It ends when the gate opens: until then, a processor may come out.
        std::mem::forget(change);
        Ok(Some(kind))
    }

    /// Lets the guest go on where it was, after [`hold`](Self::hold).
    pub fn resume(&self) -> Result<(), Error> {
        self.open(&mut self.state(), Gate::open)
    }

    /// Shows `piece` instead, which is as long: the guest goes on there. A slot
    /// that was taken out is put in again.
    pub fn show(&self, piece: &Piece<'_>) -> Result<(), Error> {
        self.replace(piece).map(|_| ())
    }

    /// As [`show`](Self::show): what was shown before is gone.
    pub(crate) fn replace(&self, piece: &Piece<'_>) -> Result<Gone, Error> {
        let mut state = self.state();
        let change = self.slots().changes.begin();
        if state.gate.is_some() {
            self.open(&mut state, |gate| gate.open_to(piece))?;
        } else {
            self.area.show(piece)?;
            self.rewritten.store(true, Ordering::Relaxed);
        }
        self.area.touch();
        drop(change);
        if state.inserted.is_none() {
            state.inserted = Some(self.put_in()?);
        }
        Ok(Gone::from_area())
    }

    /// Takes the memory away from the guest, which meets what the VMM chose.
    /// When this returns `Ok`, the guest can't reach it.
    pub fn let_go(&self) -> Result<(), Error> {
        self.take_away().map(|_| ())
    }

    /// As [`let_go`](Self::let_go): what was shown is gone.
    pub(crate) fn take_away(&self) -> Result<Gone, Error> {
        let mut state = self.state();
        let change = self.slots().changes.begin();
        if self.options.on_revoke == OnRevoke::Removed {
            // It goes on waiting until the slot is gone.
            if let Some(inserted) = state.inserted.take() {
                drop(inserted);
            }
        }
        self.rewritten.store(true, Ordering::Relaxed);
        let gone = if state.gate.is_some() {
            self.open(&mut state, Gate::open_to_zeroes)
        } else {
            self.area.blank().map_err(Error::from)
        };
        drop(change);
        gone.map(|()| Gone::from_area())
    }

    /// The pages that were written since this was last asked: by the guest, or
    /// all, after all bytes changed. For a slot that is logged.
    pub fn dirty_pages(&self) -> Result<DirtyPages, Error> {
        let len = self.area.len();
        let pages = len / rustix::param::page_size();
        let state = self.state();
        let rewritten = self.rewritten.swap(false, Ordering::Relaxed);
        let words = match &state.inserted {
            Some(_) if self.options.log_dirty => {
                let log = self.slots().vm().get_dirty_log(self.number(), len);
                log.map_err(|error| Error::kvm("KVM_GET_DIRTY_LOG", error))?
            }
            Some(_) => return Err(Error::NotLogged),
            None => vec![0; pages.div_ceil(64)],
        };
        let words = if rewritten {
            vec![u64::MAX; words.len()]
        } else {
            words
        };
        Ok(DirtyPages { words, pages })
    }

    fn open(
        &self,
        state: &mut State,
        open: impl FnOnce(Gate) -> landbridge_dmabuf::Result<()>,
    ) -> Result<(), Error> {
        let Some(gate) = state.gate.take() else {
            return Ok(());
        };
        let opened = open(gate);
        self.slots().changes.end();
        Ok(opened?)
    }

    fn put_in(&self) -> Result<Inserted, Error> {
        sys::insert(
            self.slots().vm(),
            self.claim.place(),
            &self.area,
            self.options.log_dirty,
        )
    }

    fn slots(&self) -> &Arc<Slots> {
        self.claim.slots()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, after KVM has made it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.state();
        drop(state.inserted.take());
        // Whoever waited at it finds no slot.
        let opened = self.open(&mut state, Gate::open_to_zeroes);
        if let Err(error) = opened {
            tracing::warn!(%error, "a gate could not be opened");
        }
    }
}
