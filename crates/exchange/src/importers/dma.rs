//! A device that this process drives: buffers in its IOMMU's address space, by
//! VFIO's containers, or by IOMMUFD with the feature of that name.
//!
//! The kernel pins what it maps there, so memory that moves is refused, or
//! pinned for it where that is asked for; memory that is taken away is unmapped
//! first. Only ordinary pages can be pinned: a memfd's, and a udmabuf's where
//! the exporter has kept the memfd ([`Method::Pages`]).

use std::sync::Arc;

use landbridge_dmabuf::Loan;
use landbridge_dmabuf::vfio::{Space, SpaceMap};

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::holder::Holder;
use crate::importer::Importer;
use crate::ranges::{Bus, Contents, Device, Notes, Provider, Range, RangeList};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::tenant::{Charge, Resource, Tenant};
use crate::terms::{Direction, Method, Models, Needs, Revocation};

/// The make of address space that devices have there.
#[derive(Debug)]
pub enum Iommu {}

impl Device for Iommu {
    const NAME: &'static str = "IOMMU";
}

/// How a buffer is mapped for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaOptions {
    /// Where the devices find it: whole pages.
    pub iova: u64,
    /// What they do with it.
    pub direction: Direction,
    /// Memory that moves is pinned, on the importing tenant's account, and not
    /// refused.
    pub pin: bool,
}

struct ForDevices {
    options: DmaOptions,
    hold: Arc<Hold>,
}

impl Importer for ForDevices {
    fn name(&self) -> String {
        format!("IOMMU mapping at {:#x}", self.options.iova)
    }

    fn needs(&self) -> Needs {
        Needs {
            models: Models {
                revocable: Revocation::Accepted,
                movable: false,
                pin: self.options.pin,
            },
            ..Needs::new(Method::Pages, self.options.direction)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.hold) as Arc<_>)
    }
}

/// What there is of a mapping.
#[derive(Debug, Default)]
enum State {
    /// Nothing: not mapped yet, or taken away.
    #[default]
    Empty,
    /// Lent, and not mapped yet.
    Lent(Loan),
    Mapped(SpaceMap),
    /// Nothing ever again.
    Closed,
}

struct Hold {
    space: Space,
    options: DmaOptions,
    state: Mutex<State>,
}

impl Hold {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self, state: &mut State) -> Result<(), Error> {
        let State::Lent(loan) = std::mem::take(state) else {
            return Ok(());
        };
        let access = self.options.direction.access();
        *state = State::Mapped(self.space.map(self.options.iova, loan, access)?);
        Ok(())
    }

    /// Ends whatever there is; afterwards there is `next`.
    fn end(&self, next: State) -> Result<(), Error> {
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            return Ok(());
        }
        match std::mem::replace(&mut *state, next) {
            State::Mapped(map) => Ok(map.unmap()?),
            State::Lent(loan) => {
                loan.unused();
                Ok(())
            }
            State::Empty | State::Closed => Ok(()),
        }
    }
}

impl Holder for Hold {
    fn cut_off(&self) -> Result<(), Error> {
        self.end(State::Empty)
    }

    fn follow(&self, buffer: &Buffer) -> Result<(), Error> {
        let mut state = self.lock();
        if !matches!(*state, State::Empty) {
            return Ok(());
        }
        let Some(storage) = buffer.exporter().storage() else {
            return Ok(());
        };
        *state = State::Lent(storage.lend()?);
        self.map(&mut state)
    }
}

/// A buffer in the address space of devices. Dropping it unmaps it.
pub struct DmaImport {
    hold: Arc<Hold>,
    attachment: Attachment,
    _charges: Vec<Charge>,
}

impl DmaImport {
    /// Attaches `buffer` and maps all of it. Its bytes are charged to `tenant` as
    /// pinned.
    ///
    /// # Errors
    /// [`Error::Refused`] for memory that the kernel can't pin, or that moves;
    /// [`Error::OverLimit`], and those of [`Space::map`].
    pub fn attach(
        space: &Space,
        buffer: &Buffer,
        options: DmaOptions,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let hold = Arc::new(Hold {
            space: space.clone(),
            options,
            state: Mutex::default(),
        });
        let importer = ForDevices {
            options,
            hold: Arc::clone(&hold),
        };
        let attachment = buffer.attach(&importer, tenant)?;
        let mut charges = vec![tenant.charge(Resource::Mappings, 1)?];
        if !attachment.terms().pins() {
            charges.push(tenant.charge(Resource::PinnedBytes, buffer.size())?);
        }
        let import = Self {
            hold,
            attachment,
            _charges: charges,
        };
        let hold = &import.hold;
        import
            .attachment
            .lend_to(|loan| *hold.lock() = State::Lent(loan))?;
        let mut state = hold.lock();
        hold.map(&mut state)?;
        drop(state);
        Ok(import)
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Whether devices reach the buffer now: not while it is taken away.
    pub fn is_mapped(&self) -> bool {
        matches!(*self.hold.lock(), State::Mapped(_))
    }

    /// Where devices of the address space called `name` find the bytes. They are no
    /// other device's addresses.
    pub fn addresses(&self, name: &str) -> Result<RangeList<Bus<Iommu>>, Error> {
        let notes = Notes {
            provider: Provider::Host,
            contents: Contents::Shared { cpu: None },
            peer_to_peer: false,
            snooped: true,
        };
        let mut list = RangeList::new(Bus::of(name), notes);
        let refuse = |error: crate::ranges::BadRange| Error::Export {
            exporter: "IOMMU mapping",
            reason: error.to_string(),
        };
        let range = Range::new(self.hold.options.iova, self.attachment.buffer().size());
        list.push(range.map_err(refuse)?).map_err(refuse)?;
        Ok(list)
    }
}

impl Drop for DmaImport {
    fn drop(&mut self) {
        // Before the attachment goes.
        if let Err(error) = self.hold.end(State::Closed) {
            tracing::warn!(%error, "devices may still reach a buffer");
        }
    }
}

impl std::fmt::Debug for DmaImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DmaImport")
            .field("options", &self.hold.options)
            .field("attachment", &self.attachment)
            .finish_non_exhaustive()
    }
}
