//! One buffer in a guest's window.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;

use landbridge_dmabuf::{LetGo, Loan};

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::caching::Caching;
use crate::error::Error;
use crate::events::What;
use crate::holder::{Holder, Notice};
use crate::importers::window::book::Place;
use crate::importers::window::zeroes::Zeroes;
use crate::importers::window::{
    GuestWindow, MapperError, Unmapped, Window, WindowError, WindowMap,
};
use crate::mutants::{Mutant, seeded};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use crate::tenant::{Resource, Tenant};
use crate::terms::{Method, Refusal, Unmet};

/// What is held of a buffer while the guest reaches it.
struct Held {
    // Field order: where it is left without a word, the loan is lost first.
    loan: Loan,
    place: Place,
}

impl Held {
    /// Asks the VMM to map it.
    fn map(&self) -> Result<(), MapperError> {
        let mapper = self.place.window().mapper();
        let map = WindowMap {
            file: self.loan.as_fd(),
            offset: self.place.offset(),
            len: self.place.len(),
        };
        self.make_room(self.place.crowding());
        let answer = mapper.map(&map);
        if !matches!(answer, Err(MapperError::Refused(_))) || seeded(Mutant::Lingering) {
            return answer;
        }
        // Perhaps something is there that came too late for the VMM's reset and
        // too early for ours.
        let lingering = self.place.lingering();
        if lingering.is_empty() {
            return answer;
        }
        self.make_room(lingering);
        mapper.map(&map)
    }

    /// Asks the VMM to unmap what a reset forgot; mostly it has done so itself.
    fn make_room(&self, forgotten: impl IntoIterator<Item = (u64, u64)>) {
        for (offset, len) in forgotten {
            if let Err(error) = self.place.window().mapper().unmap(offset, len) {
                tracing::debug!(%error, offset, "nothing lingered in the window");
            }
        }
    }

    /// Nobody reaches the buffer through it any more. The place is still taken.
    fn returned(self, proof: LetGo) -> Place {
        self.loan.returned(proof);
        self.place
    }

    /// The VMM failed to map it. Returns the place, if nothing is there.
    fn not_mapped(self, error: MapperError) -> (Option<Place>, WindowError) {
        match error {
            MapperError::HoldsNothing { why, let_go } => {
                (Some(self.returned(let_go)), WindowError::Mapper(*why))
            }
            // It is not in the window, but who knows who has the file: the loan
            // is dropped without proof.
            MapperError::Refused(_) => (Some(self.place), WindowError::Mapper(error)),
            MapperError::Gone { .. } => (None, WindowError::Mapper(error)),
        }
    }

    /// Asks the VMM to unmap it, and returns the place. Where that fails without
    /// proof, the memory is never exclusive again and the place stays taken.
    fn unmap(self) -> Result<Place, (Option<Place>, WindowError)> {
        let (offset, len) = (self.place.offset(), self.place.len());
        match self.place.window().mapper().unmap(offset, len) {
            Ok(Unmapped::Proven(let_go)) => Ok(self.returned(let_go)),
            // The loan is dropped without proof.
            Ok(Unmapped::Unproven) => Ok(self.place),
            Err(MapperError::HoldsNothing { why, let_go }) => {
                Err((Some(self.returned(let_go)), WindowError::Mapper(*why)))
            }
            Err(error) => Err((None, error.into())),
        }
    }
}

/// What there is of a mapping.
enum State {
    /// The VMM is being asked for something.
    Asking {
        /// The memory is being taken away.
        revoked: bool,
    },
    Mapped(Held),
    /// The memory was taken away; the place waits for it.
    Withdrawn {
        place: Place,
        /// What the guest finds there meanwhile, where there is something.
        zeroes: Option<Zeroes>,
    },
    Gone,
}

/// A mapping that follows its buffer's life.
pub(super) struct Slot {
    window: Arc<Window>,
    /// Who pays.
    tenant: Tenant,
    state: Mutex<State>,
    changed: Condvar,
}

impl Slot {
    pub(super) fn new(window: &Arc<Window>, tenant: &Tenant) -> Arc<Self> {
        Arc::new(Self {
            window: Arc::clone(window),
            tenant: tenant.clone(),
            state: Mutex::new(State::Asking { revoked: false }),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the asking. What is returned was told meanwhile: whether the memory
    /// is being taken away.
    fn settle(&self, state: State) -> bool {
        let before = std::mem::replace(&mut *self.lock(), state);
        self.changed.notify_all();
        matches!(before, State::Asking { revoked: true })
    }

    /// Waits until the VMM has answered, and begins to ask it something else.
    fn take(&self) -> State {
        let mut state = self.lock();
        while matches!(*state, State::Asking { .. }) {
            let again = self.changed.wait(state);
            state = again.unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::replace(&mut *state, State::Asking { revoked: false })
    }

    /// Maps the buffer at `offset`, for the first time.
    pub(super) fn map(&self, attachment: &Attachment, offset: u64) -> Result<(), Error> {
        let buffer = attachment.buffer();
        match self.try_map(attachment, offset) {
            Ok(held) => {
                let len = held.place.len();
                if self.settle(State::Mapped(held)) {
                    // Ours to unmap, if the revocation has not: the attachment ends
                    // now, and then nobody would.
                    let _ = self.unmap();
                    return Err(WindowError::TakenAway { offset, len }.into());
                }
                buffer.tell(What::Mapped {
                    importer: attachment.importer().to_owned(),
                });
                Ok(())
            }
            Err(error) => {
                self.settle(State::Gone);
                Err(error)
            }
        }
    }

    fn try_map(&self, attachment: &Attachment, offset: u64) -> Result<Held, Error> {
        let buffer = attachment.buffer();
        let charge = self.tenant.charge(Resource::WindowMaps, 1)?;
        let place = Place::take(&self.window, buffer, offset, charge)?;
        let loan = match attachment.lend() {
            Ok(loan) => loan,
            Err(error) => {
                place.free();
                return Err(error);
            }
        };
        let held = Held { loan, place };
        if let Err(error) = held.map() {
            let (place, error) = held.not_mapped(error);
            if let Some(place) = place {
                place.free();
            }
            return Err(error.into());
        }
        if !held.place.mapped() {
            let len = held.place.len();
            // Perhaps there is nothing to unmap any more; either way it is gone.
            if let Ok(place) | Err((Some(place), _)) = held.unmap() {
                place.free();
            }
            return Err(WindowError::Reset { offset, len }.into());
        }
        Ok(held)
    }

    /// Takes over what `from` has mapped, for another buffer in the same memory;
    /// `false` where that has nothing mapped, or the memory is taken away.
    fn take_over(&self, from: &Self, buffer: &Buffer) -> bool {
        let mut held = match from.take() {
            State::Mapped(held) => held,
            other => {
                from.settle(other);
                self.settle(State::Gone);
                return false;
            }
        };
        // Whoever takes the other buffer away from now on finds nothing here.
        from.settle(State::Gone);
        drop(held.place.hand_over(buffer));
        if self.settle(State::Mapped(held)) {
            // As when it is mapped: ours to unmap, if the revocation has not.
            let _ = self.unmap();
            return false;
        }
        true
    }

    /// Unmaps the buffer for good.
    fn unmap(&self) -> Result<(), WindowError> {
        let state = self.take();
        let result = match state {
            State::Mapped(held) if held.place.unmapping() => match held.unmap() {
                Ok(place) => {
                    place.free();
                    Ok(())
                }
                Err((place, error)) => {
                    if let Some(place) = place {
                        place.free();
                    }
                    Err(error)
                }
            },
            State::Withdrawn {
                place,
                zeroes: Some(zeroes),
            } if place.unmapping() => zeroes.unmap(&place).map(|()| place.free()),
            State::Withdrawn { place, .. } => {
                place.free();
                Ok(())
            }
            // What the window has forgotten goes without proof.
            State::Mapped(_) | State::Asking { .. } | State::Gone => Ok(()),
        };
        self.settle(State::Gone);
        result
    }
}

impl Holder for Slot {
    fn told(&self, notice: Notice) {
        if let (Notice::Revoke, State::Asking { revoked }) = (notice, &mut *self.lock()) {
            *revoked = true;
        }
    }

    /// Has the VMM unmap it, and keeps the place.
    fn cut_off(&self) -> Result<(), Error> {
        if seeded(Mutant::ForgottenMap) && matches!(*self.lock(), State::Asking { .. }) {
            return Ok(());
        }
        let (state, result) = match self.take() {
            State::Mapped(held) if held.place.unmapping() => match held.unmap() {
                Ok(place) | Err((Some(place), _)) => (withdrawn(place), Ok(())),
                Err((None, error)) => (State::Gone, Err(error.into())),
            },
            // Forgotten by the window: the VMM dropped it by itself.
            State::Mapped(held) => {
                drop(held);
                (State::Gone, Ok(()))
            }
            state => (state, Ok(())),
        };
        self.settle(state);
        result
    }

    /// Has the VMM map it again where it was.
    fn follow(&self, buffer: &Buffer) -> Result<(), Error> {
        let (state, result) = match self.take() {
            State::Withdrawn { place, zeroes } if place.mapping_again() => {
                match zeroes.map_or(Ok(()), |zeroes| zeroes.unmap(&place)) {
                    Ok(()) => again(place, buffer),
                    Err(error) => (State::Gone, Err(error.into())),
                }
            }
            State::Withdrawn { .. } => (State::Gone, Ok(())),
            state => (state, Ok(())),
        };
        self.settle(state);
        result
    }

    fn asks_others(&self) -> bool {
        true
    }

    /// Has the VMM map zero pages where the memory was.
    fn fill(&self) {
        let state = match self.take() {
            State::Withdrawn {
                place,
                zeroes: None,
            } if place.mapping_again() => filled(place, &self.tenant),
            state => state,
        };
        self.settle(state);
    }
}

/// A place that is kept, unless the window was reset.
fn withdrawn(place: Place) -> State {
    if place.withdrawn() {
        State::Withdrawn {
            place,
            zeroes: None,
        }
    } else {
        place.free();
        State::Gone
    }
}

/// The place with zero pages in it, or without where they can't be had.
fn filled(place: Place, tenant: &Tenant) -> State {
    match Zeroes::map(&place, tenant) {
        Ok(zeroes) if place.mapped() => State::Withdrawn {
            place,
            zeroes: Some(zeroes),
        },
        Ok(zeroes) => {
            // Reset meanwhile; perhaps there is nothing to unmap any more.
            let _ = zeroes.unmap(&place);
            place.free();
            State::Gone
        }
        Err(error) => {
            tracing::warn!(%error, "a guest finds nothing where memory was taken away");
            match error {
                // Who knows what is there.
                Error::Window(WindowError::Mapper(MapperError::Gone { .. })) => State::Gone,
                _ => withdrawn(place),
            }
        }
    }
}

fn again(place: Place, buffer: &Buffer) -> (State, Result<(), Error>) {
    let missing = || Refusal {
        importer: "guest window".to_owned(),
        exporter: buffer.exporter_name().to_owned(),
        unmet: vec![Unmet::Method(Method::Descriptor)],
    };
    let lent = buffer.lend_there(|| Ok(buffer.exporter().storage().ok_or_else(missing)?));
    let loan = match lent {
        Ok(loan) => loan,
        // Asked too late: it was taken away again, and may come back again.
        Err(Error::Revoked { .. }) => return (withdrawn(place), Ok(())),
        Err(error) => return (withdrawn(place), Err(error)),
    };
    let held = Held { loan, place };
    if let Err(error) = held.map() {
        let (place, error) = held.not_mapped(error);
        return (place.map_or(State::Gone, withdrawn), Err(error.into()));
    }
    if !held.place.mapped() {
        // Reset meanwhile.
        if let Ok(place) | Err((Some(place), _)) = held.unmap() {
            place.free();
        }
        return (State::Gone, Ok(()));
    }
    (State::Mapped(held), Ok(()))
}

/// A buffer mapped in a guest's window. Dropping it unmaps it.
pub struct WindowMapping {
    slot: Arc<Slot>,
    attachment: Attachment,
}

impl WindowMapping {
    pub(super) fn new(slot: Arc<Slot>, attachment: Attachment) -> Self {
        Self { slot, attachment }
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// How the guest must map it: exactly as the host does.
    pub fn caching(&self) -> Option<Caching> {
        self.attachment.terms().caching().map(|known| known.caching)
    }

    /// Whether the guest reaches the buffer now: not while its memory is taken
    /// away.
    pub fn is_mapped(&self) -> bool {
        matches!(*self.slot.lock(), State::Mapped(_))
    }

    /// What is mapped becomes the mapping of a buffer in the same memory, which
    /// [renewed](crate::Exchange::renew) the one that it was: the VMM is not
    /// asked. On the account of `tenant`. `false` where nothing is mapped (any
    /// more), or other memory is.
    ///
    /// # Errors
    /// As for [`Buffer::attach`].
    pub fn hand_over(&mut self, to: &Buffer, tenant: &Tenant) -> Result<bool, Error> {
        let from = self.attachment.buffer();
        if to.identity().is_none() || to.identity() != from.identity() {
            return Ok(false);
        }
        let slot = Slot::new(&self.slot.window, tenant);
        let attachment = to.attach(&GuestWindow(Arc::clone(&slot)), tenant)?;
        if !slot.take_over(&self.slot, to) {
            return Ok(false);
        }
        to.tell(What::Mapped {
            importer: attachment.importer().to_owned(),
        });
        self.slot = slot;
        self.attachment = attachment;
        Ok(true)
    }

    /// Unmaps the buffer; when this returns `Ok`, the guest can't reach it.
    pub fn unmap(self) -> Result<(), WindowError> {
        // The drop finds nothing left to do.
        self.slot.unmap()
    }
}

impl Drop for WindowMapping {
    fn drop(&mut self) {
        if let Err(error) = self.slot.unmap() {
            tracing::warn!(%error, "a window mapping could not be withdrawn");
        }
    }
}

impl fmt::Debug for WindowMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match &*self.slot.lock() {
            State::Mapped(held) => Some(held.place.offset()),
            State::Withdrawn { place, .. } => Some(place.offset()),
            State::Asking { .. } | State::Gone => None,
        };
        f.debug_struct("WindowMapping")
            .field("offset", &offset)
            .field("buffer", self.attachment.buffer())
            .finish_non_exhaustive()
    }
}
