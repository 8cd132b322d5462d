//! A buffer of the exchange as a slot.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use landbridge_dmabuf::{Access, Area, Loan, Piece};
use landbridge_exchange::holder::Holder;
use landbridge_exchange::importer::Importer;
use landbridge_exchange::tenant::{Charge, Resource};
use landbridge_exchange::terms::{CachingNeed, Direction, Method, Models, Needs};
use landbridge_exchange::{Attachment, Buffer, Tenant};

use crate::error::Error;
use crate::slot::{DirtyPages, Slot, SlotOptions};
use crate::slots::Slots;
use crate::sys::{self, Gone};

/// A buffer at some addresses of a guest. It follows the buffer: memory that is
/// taken away is replaced by what the VMM chose, memory that comes back is put
/// there again, memory that moves is followed, and the guest loses no write.
///
/// Dropping it takes the buffer out of the guest.
#[derive(Debug)]
pub struct KvmImport {
    hold: Arc<Hold>,
    attachment: Arc<Attachment>,
    _charge: Charge,
}

impl KvmImport {
    /// Attaches `buffer` and puts all of it at `guest_address`, on the account of
    /// `tenant`.
    ///
    /// # Errors
    /// A refusal of the exchange (a buffer without a descriptor, of unknown
    /// caching, read-only for a guest that writes), or what
    /// [`Slot::insert`] answers.
    pub fn attach(
        slots: &Arc<Slots>,
        buffer: &Buffer,
        guest_address: u64,
        options: SlotOptions,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let hold = Arc::new(Hold::default());
        let importer = GuestMemory {
            guest_address,
            options,
            hold: Arc::clone(&hold),
        };
        let attachment = Arc::new(buffer.attach(&importer, tenant)?);
        // The only one who sets it.
        let _ = hold.attachment.set(Arc::downgrade(&attachment));
        let import = Self {
            _charge: tenant
                .charge(Resource::Mappings, 1)
                .map_err(landbridge_exchange::Error::from)?,
            attachment,
            hold,
        };
        import.insert(slots, guest_address, options)?;
        Ok(import)
    }

    fn insert(
        &self,
        slots: &Arc<Slots>,
        guest_address: u64,
        options: SlotOptions,
    ) -> Result<(), Error> {
        self.attachment
            .lend_to(|loan| self.hold.lock().loan = Some(loan))?;
        // From here on the holder is told of everything, and the loan in there
        // is what the memory is now.
        let mut state = self.hold.lock();
        while state.still {
            state = self.hold.wait(state);
        }
        let Some(loan) = state.loan.take() else {
            return Err(Error::TakenAway);
        };
        match Slot::try_insert(slots, guest_address, &whole(&loan), options) {
            Ok(slot) => {
                (state.slot, state.loan) = (Some(slot), Some(loan));
                Ok(())
            }
            Err((error, gone)) => {
                sys::give_back(loan, gone);
                Err(error)
            }
        }
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Whether the guest reaches the buffer now: not while its memory is taken
    /// away.
    pub fn is_mapped(&self) -> bool {
        let state = self.hold.lock();
        state.slot.is_some() && state.loan.is_some()
    }

    /// What the guest sees, for this process: the same addresses whatever
    /// happens to the buffer. `None` if it never got as far.
    pub fn area(&self) -> Option<Arc<Area>> {
        let state = self.hold.lock();
        state.slot.as_ref().map(|slot| Arc::clone(slot.area()))
    }

    /// [`Slot::dirty_pages`].
    pub fn dirty_pages(&self) -> Result<DirtyPages, Error> {
        match &self.hold.lock().slot {
            Some(slot) => slot.dirty_pages(),
            None => Err(Error::TakenAway),
        }
    }
}

impl Drop for KvmImport {
    fn drop(&mut self) {
        let mut state = self.hold.lock();
        if let Err(error) = state.let_go() {
            tracing::warn!(%error, "a guest may still reach a buffer");
        }
        state.slot = None;
    }
}

struct GuestMemory {
    guest_address: u64,
    options: SlotOptions,
    hold: Arc<Hold>,
}

impl Importer for GuestMemory {
    fn name(&self) -> String {
        format!("guest memory at {:#x}", self.guest_address)
    }

    fn needs(&self) -> Needs {
        let direction = match self.options.access {
            Access::ReadOnly => Direction::Read,
            Access::ReadWrite => Direction::ReadWrite,
        };
        Needs {
            models: Models::ANY,
            caching: CachingNeed::Known,
            ..Needs::new(Method::Descriptor, direction)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.hold) as Arc<_>)
    }
}

/// What the exchange tells.
#[derive(Debug, Default)]
struct Hold {
    attachment: OnceLock<Weak<Attachment>>,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// `None` before it is put in, and once it is dropped.
    slot: Option<Slot>,
    /// What the slot shows; `None` while that is not the buffer.
    loan: Option<Loan>,
    /// The memory is being moved.
    still: bool,
}

impl State {
    /// Takes the memory away from the guest, and gives the loan back.
    fn let_go(&mut self) -> Result<(), Error> {
        let gone = match &self.slot {
            Some(slot) => Some(slot.take_away()?),
            None => None,
        };
        self.give_back(gone, None);
        Ok(())
    }

    /// Puts a new loan in place of the old one, which nothing shows any more.
    /// Without a slot, nothing has.
    fn give_back(&mut self, gone: Option<Gone>, new: Option<Loan>) {
        match (std::mem::replace(&mut self.loan, new), gone) {
            (Some(old), Some(gone)) => sys::give_back(old, gone),
            (Some(old), None) => old.unused(),
            (None, _) => {}
        }
    }
}

impl Hold {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Its fields change one by one, each to what is already so.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.moved
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn try_follow(&self, state: &mut State) -> Result<(), Error> {
        let attachment = self.attachment.get().and_then(Weak::upgrade);
        let Some(attachment) = attachment else {
            // It is not mapped yet, or not any more.
            return Ok(());
        };
        let loan = attachment.lend()?;
        match &state.slot {
            None => state.give_back(None, Some(loan)),
            Some(slot) => match slot.replace(&whole(&loan)) {
                Ok(gone) => state.give_back(Some(gone), Some(loan)),
                // Whatever of it was mapped, the exchange cuts it off next.
                Err(error) => {
                    let gone = slot.take_away()?;
                    sys::give_back(loan, gone);
                    return Err(error);
                }
            },
        }
        Ok(())
    }
}

impl Holder for Hold {
    fn hold_still(&self) -> Result<(), landbridge_exchange::Error> {
        let mut state = self.lock();
        state.still = true;
        if let Some(slot) = &state.slot {
            slot.hold()?;
        }
        Ok(())
    }

    fn cut_off(&self) -> Result<(), landbridge_exchange::Error> {
        let mut state = self.lock();
        state.still = false;
        self.moved.notify_all();
        Ok(state.let_go()?)
    }

    fn follow(&self, _: &Buffer) -> Result<(), landbridge_exchange::Error> {
        let mut state = self.lock();
        state.still = false;
        self.moved.notify_all();
        Ok(self.try_follow(&mut state)?)
    }
}

fn whole(loan: &Loan) -> Piece<'_> {
    Piece::new(loan, 0, loan.size())
}

impl From<Error> for landbridge_exchange::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Exchange(error) => error,
            Error::Memory(error) => Self::Memory(error),
            Error::Kvm { call, source } => {
                Self::Memory(landbridge_dmabuf::Error::Sys { call, source })
            }
            other => Self::Memory(landbridge_dmabuf::Error::Sys {
                call: "KVM",
                source: std::io::Error::other(other),
            }),
        }
    }
}
