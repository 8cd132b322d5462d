//! One importer's hold on a buffer.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use landbridge_dmabuf::{Access, Bracketed, Exclusive, Loan, Storage};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::events::What;
use crate::importer::Importer;
use crate::mutants::{Mutant, seeded};
use crate::ranges::{GuestPhysical, RangeList};
use crate::reservation::Record;
use crate::tenant::{Charge, Resource, Tenant};
use crate::terms::{Direction, MemoryModel, Method, Refusal, Terms, Unmet};

/// One importer's hold on a buffer, under agreed terms. It gives what the
/// terms say and nothing else; dropping it detaches the importer.
#[derive(Debug)]
pub struct Attachment {
    buffer: Buffer,
    importer: String,
    number: u64,
    terms: Terms,
    _charges: Vec<Charge>,
}

impl Attachment {
    pub(crate) fn new(
        buffer: &Buffer,
        importer: &impl Importer,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let name = importer.name();
        Self::try_new(buffer, importer, &name, tenant).inspect_err(|error| {
            buffer.tell(What::Refused {
                importer: name.clone(),
                reason: error.to_string(),
            });
        })
    }

    fn try_new(
        buffer: &Buffer,
        importer: &impl Importer,
        name: &str,
        tenant: &Tenant,
    ) -> Result<Self, Error> {
        let terms = buffer.ask(name, &importer.needs())?;
        // Pinned memory can be lost too, so whoever can be told is told.
        let holder = importer.holder();
        if holder.is_none() && terms.model() != MemoryModel::Pinned {
            return Err(refusal(buffer, name, Unmet::NoHolder(terms.model())).into());
        }
        let mut charges = vec![tenant.charge(Resource::Attachments, 1)?];
        if terms.pins() {
            charges.push(tenant.charge(Resource::PinnedBytes, buffer.size())?);
        }
        let record = Record::new(name, terms, holder);
        let joined = buffer.reservation().join(&record);
        let number = joined.map_err(|_| buffer.not_there())?;
        buffer.tell(What::Attached {
            importer: name.to_owned(),
        });
        Ok(Self {
            buffer: buffer.clone(),
            importer: name.to_owned(),
            number,
            terms,
            _charges: charges,
        })
    }

    /// The buffer.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// What was agreed.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Who holds it.
    pub fn importer(&self) -> &str {
        &self.importer
    }

    /// The memory as guest-physical ranges. Refused unless the terms are for
    /// ranges.
    pub fn ranges(&self) -> Result<&RangeList<GuestPhysical>, Error> {
        self.require(Method::Ranges)?;
        let missing = || self.refusal(Unmet::Method(Method::Ranges));
        Ok(self.buffer.exporter().ranges().ok_or_else(missing)?)
    }

    /// A descriptor of private memory, for those who import it as such. It gives
    /// no way to the bytes, so it may outlive the attachment; after a revocation
    /// the memory behind it is empty.
    ///
    /// # Errors
    /// [`Error::Refused`] unless the terms are for private memory,
    /// [`Error::Revoked`] where it is not there.
    pub fn private(&self) -> Result<OwnedFd, Error> {
        self.require(Method::Private)?;
        self.buffer.check_there()?;
        let missing = || self.refusal(Unmet::Method(Method::Private));
        let memory = self.buffer.exporter().private().ok_or_else(missing)?;
        let copy = memory.try_clone_to_owned();
        copy.map_err(|source| {
            let call = "fcntl";
            landbridge_dmabuf::Error::Sys { call, source }.into()
        })
    }

    /// What the terms let a mapping do.
    pub(crate) fn access(&self) -> Access {
        self.terms.direction().access()
    }

    /// Maps the whole buffer for the CPU of this process and hands the mapping to
    /// `keep`, which runs under the reservation lock: what it keeps is there when
    /// the importer's holder is told anything from then on. Waits while the
    /// memory is being moved.
    ///
    /// # Errors
    /// [`Error::Revoked`] where the memory is not there.
    pub fn map<R>(&self, keep: impl FnOnce(Arc<Bracketed>) -> R) -> Result<R, Error> {
        self.require(Method::Cpu)?;
        let reservation = self.buffer.reservation();
        let mut keep = Some(keep);
        loop {
            let pass = reservation.pass().map_err(|_| self.buffer.not_there())?;
            // The map may fail because the memory went away meanwhile.
            let memory = Arc::new(self.buffer.exporter().map(self.access())?);
            let kept =
                reservation.if_still(pass, || keep.take().map(|keep| keep(Arc::clone(&memory))));
            if let Some(kept) = kept.flatten() {
                self.buffer.tell(What::Mapped {
                    importer: self.importer.clone(),
                });
                return Ok(kept);
            }
        }
    }

    /// Checks that the terms cover access in `direction`.
    pub(crate) fn check_direction(&self, asked: Direction) -> Result<(), Refusal> {
        let agreed = self.terms.direction();
        if agreed.covers(asked) {
            Ok(())
        } else {
            Err(self.refusal(Unmet::Direction { agreed, asked }))
        }
    }

    /// The whole memory as this importer's own until the value is dropped, for
    /// work that entered when there had been `cuts` revocations. Devices that use
    /// the memory without our fences are waited for until `deadline`.
    pub(crate) fn exclusive(
        &self,
        cuts: u64,
        deadline: Option<Instant>,
    ) -> Result<Exclusive, Error> {
        let storage = self.storage(Method::Exclusive)?;
        let memory = storage.exclusive(deadline)?;
        // A revocation that began before has not seen this hold; one that begins
        // from now on does.
        if self.buffer.reservation().cuts() == cuts || seeded(Mutant::StaleExclusive) {
            Ok(memory)
        } else {
            Err(self.buffer.not_there())
        }
    }

    /// A descriptor, handed to `keep`, which runs under the reservation lock: the
    /// importer's holder is told of everything from then on, and takes the
    /// descriptor back when the memory goes or moves. Waits while the memory is
    /// being moved.
    ///
    /// # Errors
    /// [`Error::Revoked`] where the memory is not there.
    pub fn lend_to<R>(&self, keep: impl FnOnce(Loan) -> R) -> Result<R, Error> {
        let reservation = self.buffer.reservation();
        let mut keep = Some(keep);
        loop {
            let pass = reservation.pass().map_err(|_| self.buffer.not_there())?;
            let mut loan = Some(self.lend()?);
            let kept = reservation.if_still(pass, || {
                let keep = keep.take()?;
                loan.take().map(keep)
            });
            if let Some(kept) = kept.flatten() {
                return Ok(kept);
            }
            // Nobody has seen it.
            if let Some(loan) = loan {
                loan.unused();
            }
        }
    }

    /// A descriptor for another process to map. The importer's holder takes it
    /// back when the memory is revoked: it is told of every revocation that begins
    /// from now on.
    ///
    /// # Errors
    /// [`Error::Revoked`] where the memory is not there.
    pub fn lend(&self) -> Result<Loan, Error> {
        // Pages are pinned through a descriptor, too.
        let method = match self.terms.method() {
            Method::Pages => Method::Pages,
            _ => Method::Descriptor,
        };
        self.buffer.lend_there(|| self.storage(method))
    }

    fn storage(&self, method: Method) -> Result<Storage, Error> {
        self.require(method)?;
        // An exporter that offers the method has it, unless it is gone.
        let storage = self.buffer.exporter().storage();
        storage.ok_or_else(|| self.refusal(Unmet::Method(method)).into())
    }

    fn require(&self, method: Method) -> Result<(), Refusal> {
        if self.terms.method() == method {
            Ok(())
        } else {
            Err(self.refusal(Unmet::Method(method)))
        }
    }

    fn refusal(&self, unmet: Unmet) -> Refusal {
        refusal(&self.buffer, &self.importer, unmet)
    }
}

fn refusal(buffer: &Buffer, importer: &str, unmet: Unmet) -> Refusal {
    Refusal {
        importer: importer.to_owned(),
        exporter: buffer.exporter_name().to_owned(),
        unmet: vec![unmet],
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.buffer.reservation().leave(self.number);
        self.buffer.tell(What::Detached {
            importer: std::mem::take(&mut self.importer),
        });
    }
}
