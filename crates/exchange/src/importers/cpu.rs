//! The CPU of this process.
//!
//! Memory that moves is mapped anew while no access is open; memory that is
//! taken away is replaced by zero pages under an access that did not end in
//! time, which then fails instead of crashing.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use landbridge_dmabuf::bracketed::Counters;
use landbridge_dmabuf::{Access, Bracketed};

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::holder::Holder;
use crate::importer::Importer;
use crate::importers::CpuAccess;
use crate::mutants::{Mutant, seeded};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::tenant::{Charge, Resource, Tenant};
use crate::terms::{Direction, Method, Models, Needs};

struct Cpu<'a> {
    name: &'a str,
    direction: Direction,
    hold: Arc<CpuHold>,
}

impl Importer for Cpu<'_> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            models: Models::ANY,
            ..Needs::new(Method::Cpu, self.direction)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.hold) as Arc<_>)
    }
}

/// What there is of a mapping.
#[derive(Debug, Default)]
enum State {
    /// Nothing: not mapped yet, or cut off.
    #[default]
    Empty,
    Mapped(Arc<Bracketed>),
    /// Nothing ever again.
    Closed,
}

/// A CPU mapping that follows its buffer.
#[derive(Debug)]
pub(crate) struct CpuHold {
    access: Access,
    state: Mutex<State>,
}

impl CpuHold {
    pub(crate) fn new(direction: Direction) -> Arc<Self> {
        Arc::new(Self {
            access: direction.access(),
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the attachment map the buffer.
    pub(crate) fn fill(&self, attachment: &Attachment) -> Result<(), Error> {
        let before = attachment.map(|memory| self.put(State::Mapped(memory)))?;
        drop(before);
        Ok(())
    }

    /// The mapping as it is now.
    pub(crate) fn memory(&self) -> Option<Arc<Bracketed>> {
        match &*self.lock() {
            State::Mapped(memory) => Some(Arc::clone(memory)),
            State::Empty | State::Closed => None,
        }
    }

    /// Unmaps it for good.
    pub(crate) fn close(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Closed);
        drop(before);
    }

    /// Puts a new state in place, unless it is closed. What was there before is to
    /// be dropped without locks.
    fn put(&self, new: State) -> State {
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            return new;
        }
        std::mem::replace(&mut *state, new)
    }
}

impl Holder for CpuHold {
    fn cut_off(&self) -> Result<(), Error> {
        match self.put(State::Empty) {
            // Accesses that are still open have a part in it.
            State::Mapped(_) if seeded(Mutant::NoCut) => Ok(()),
            State::Mapped(memory) => Ok(memory.cut()?),
            State::Empty | State::Closed => Ok(()),
        }
    }

    fn follow(&self, buffer: &Buffer) -> Result<(), Error> {
        let memory = Arc::new(buffer.exporter().map(self.access)?);
        drop(self.put(State::Mapped(memory)));
        Ok(())
    }
}

/// An importer that has the whole buffer mapped for the CPU, and pays for it.
#[derive(Debug)]
pub(crate) struct MappedImport {
    hold: Arc<CpuHold>,
    pub(crate) attachment: Attachment,
    _charge: Charge,
}

impl MappedImport {
    /// Attaches `importer`, whose holder is `hold`, and maps the buffer.
    pub(crate) fn attach(
        buffer: &Buffer,
        importer: &impl Importer,
        hold: Arc<CpuHold>,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let import = Self {
            attachment: buffer.attach(importer, tenant)?,
            _charge: tenant.charge(Resource::Mappings, 1)?,
            hold,
        };
        import.hold.fill(&import.attachment)?;
        Ok(import)
    }

    pub(crate) fn access(
        &self,
        direction: Direction,
        range: Option<Range<usize>>,
        limit: Duration,
    ) -> Result<CpuAccess<'_>, Error> {
        CpuAccess::begin(&self.attachment, &self.hold, direction, range, limit)
    }
}

impl Drop for MappedImport {
    fn drop(&mut self) {
        // The mapping goes before the attachment.
        self.hold.close();
    }
}

/// A CPU mapping of a whole buffer.
#[derive(Debug)]
pub struct CpuImport(MappedImport);

impl CpuImport {
    /// Attaches and maps the buffer for the CPU.
    pub fn attach(
        buffer: &Buffer,
        name: &str,
        direction: Direction,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let hold = CpuHold::new(direction);
        let importer = Cpu {
            name,
            direction,
            hold: Arc::clone(&hold),
        };
        MappedImport::attach(buffer, &importer, hold, tenant).map(Self)
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.0.attachment
    }

    /// Access in `direction`, after conflicting work has ended; waits for it at
    /// most for `limit`.
    pub fn access(&self, direction: Direction, limit: Duration) -> Result<CpuAccess<'_>, Error> {
        self.0.access(direction, None, limit)
    }

    /// The same to the bytes in `range` only.
    ///
    /// # Errors
    /// Also where the buffer has no such bytes.
    pub fn access_range(
        &self,
        direction: Direction,
        range: Range<usize>,
        limit: Duration,
    ) -> Result<CpuAccess<'_>, Error> {
        self.0.access(direction, Some(range), limit)
    }

    /// How often access through the mapping that there is now began and ended;
    /// `None` while the memory is away. What isn't balanced while nobody has an
    /// access is a bug.
    pub fn counters(&self) -> Option<Counters> {
        Some(self.0.hold.memory()?.counters())
    }
}
