//! A private buffer of the exchange as a slot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landbridge_exchange::holder::Holder;
use landbridge_exchange::importer::Importer;
use landbridge_exchange::terms::{Direction, Method, Models, Needs, Revocation};
use landbridge_exchange::{Attachment, Buffer, Tenant};

use crate::error::Error;
use crate::private::{PrivateMemory, PrivateSlot};
use crate::slot::OnRevoke;
use crate::slots::Slots;

/// A private buffer at some addresses of the guest that it was made for. This
/// process has no way to its bytes.
///
/// Dropping it takes the buffer out of the guest.
#[derive(Debug)]
pub struct PrivateImport {
    hold: Arc<Hold>,
    attachment: Attachment,
}

impl PrivateImport {
    /// Attaches `buffer` and puts all of it at `guest_address`, on the account of
    /// `tenant`.
    ///
    /// When its memory is taken away, the guest meets zeros or MMIO exits, as
    /// `on_revoke` says; it never comes back.
    ///
    /// # Errors
    /// A refusal of the exchange for a buffer that is not private, and
    /// [`Error::Kvm`] with EINVAL for one that was made for another guest.
    pub fn attach(
        slots: &Arc<Slots>,
        buffer: &Buffer,
        guest_address: u64,
        on_revoke: OnRevoke,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let hold = Arc::new(Hold {
            on_revoke,
            state: Mutex::default(),
        });
        let importer = PrivateGuestMemory {
            guest_address,
            hold: Arc::clone(&hold),
        };
        let attachment = buffer.attach(&importer, tenant)?;
        let memory = PrivateMemory::of(attachment.private()?, buffer.size());
        let slot = PrivateSlot::insert(slots, guest_address, memory)?;
        hold.keep(slot)?;
        Ok(Self { hold, attachment })
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Whether the guest reaches the buffer now: not once its memory was taken
    /// away.
    pub fn is_mapped(&self) -> bool {
        matches!(*self.hold.lock(), State::In(_))
    }
}

impl Drop for PrivateImport {
    fn drop(&mut self) {
        *self.hold.lock() = State::Gone;
    }
}

struct PrivateGuestMemory {
    guest_address: u64,
    hold: Arc<Hold>,
}

impl Importer for PrivateGuestMemory {
    fn name(&self) -> String {
        format!("private guest memory at {:#x}", self.guest_address)
    }

    fn needs(&self) -> Needs {
        needs()
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.hold) as Arc<_>)
    }
}

/// What a guest needs of private memory.
pub(crate) fn needs() -> Needs {
    Needs {
        models: Models {
            revocable: Revocation::Accepted,
            ..Models::PINNED
        },
        ..Needs::new(Method::Private, Direction::ReadWrite)
    }
}

#[derive(Debug, Default)]
enum State {
    /// Not put in yet.
    #[default]
    Out,
    In(PrivateSlot),
    /// The memory was taken away; perhaps its place still shows zeros.
    Emptied(#[expect(dead_code, reason = "kept in the guest, not looked at")] Option<PrivateSlot>),
    /// Nothing ever again.
    Gone,
}

#[derive(Debug)]
struct Hold {
    on_revoke: OnRevoke,
    state: Mutex<State>,
}

impl Hold {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a slot that was put in, unless the memory was taken away meanwhile.
    fn keep(&self, slot: PrivateSlot) -> Result<(), Error> {
        let mut state = self.lock();
        if !matches!(*state, State::Out) {
            return Err(Error::TakenAway);
        }
        *state = State::In(slot);
        Ok(())
    }
}

impl Holder for Hold {
    /// The exporter empties the memory next, and nothing but it can be reached
    /// through the slot; so the slot may stay where the guest is to meet zeros.
    fn cut_off(&self) -> Result<(), landbridge_exchange::Error> {
        let mut state = self.lock();
        *state = match std::mem::take(&mut *state) {
            State::In(slot) if self.on_revoke == OnRevoke::Zeroes => State::Emptied(Some(slot)),
            State::In(_) | State::Out => State::Emptied(None),
            other => other,
        };
        Ok(())
    }

    /// It never comes back.
    fn follow(&self, _: &Buffer) -> Result<(), landbridge_exchange::Error> {
        Ok(())
    }
}
