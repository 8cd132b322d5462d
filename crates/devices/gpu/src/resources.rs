//! What a guest made, by the ids that it chose.

use std::collections::HashMap;
use std::sync::Arc;

use landbridge_exchange::Buffer;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::window::WindowMapping;
use landbridge_protocol_gpu::BlobFlags;

use crate::backing::Backing;
use crate::config::Bounds;
use crate::error::Error;
use crate::image::{Image, Layout};

/// Whose memory a resource is, and what is known of it.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Pixels in host memory, which transfers fill from the backing.
    TwoD { buffer: Buffer, layout: Layout },
    /// A guest-only blob: its backing *is* its memory.
    Guest { size: u64, flags: BlobFlags },
    /// A host-only blob.
    Host {
        buffer: Buffer,
        flags: BlobFlags,
        /// Its map may stay when the guest unmaps it: see [`Core::may_idle`](crate::core::Core::may_idle).
        idles: bool,
    },
    /// A blob in host memory whose backing is a shadow for transfers.
    Shadowed { buffer: Buffer, flags: BlobFlags },
}

impl Kind {
    /// What a blob is for; `None` for what is no blob.
    pub(crate) fn flags(&self) -> Option<BlobFlags> {
        match self {
            Self::TwoD { .. } => None,
            Self::Guest { flags, .. } | Self::Host { flags, .. } | Self::Shadowed { flags, .. } => {
                Some(*flags)
            }
        }
    }
}

/// A blob's place in the host-visible window.
#[derive(Debug, Default)]
pub(crate) enum Place {
    #[default]
    None,
    /// The VMM is being asked.
    Busy,
    Mapped {
        offset: u64,
        mapping: WindowMapping,
    },
}

/// What a guest made.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Never used twice, unlike the id.
    pub(crate) serial: u64,
    pub(crate) kind: Kind,
    pub(crate) backing: Option<Backing>,
    pub(crate) place: Place,
    /// The guest has mapped it: there may be something in it.
    pub(crate) was_mapped: bool,
    /// The host memory, mapped for transfers.
    pub(crate) view: Option<Arc<CpuImport>>,
    /// The scanout that last showed the resource, and its attachment: a guest
    /// that flips between two pictures need not pay for mapping them each time.
    pub(crate) seen: Option<(u32, Image)>,
}

impl Resource {
    /// Whether mappings of the memory may outlive their use. Not where another
    /// device may want it for itself: that needs everybody else to let go.
    pub(crate) fn is_kept_mapped(&self) -> bool {
        match &self.kind {
            Kind::TwoD { buffer, .. } => buffer.uuid().is_none(),
            Kind::Guest { .. } => true,
            Kind::Host { .. } | Kind::Shadowed { .. } => false,
        }
    }

    /// The buffer with the resource's bytes.
    pub(crate) fn memory(&self, id: u32) -> Result<&Buffer, Error> {
        match &self.kind {
            Kind::TwoD { buffer, .. }
            | Kind::Host { buffer, .. }
            | Kind::Shadowed { buffer, .. } => Ok(buffer),
            Kind::Guest { .. } => Ok(self.backing(id)?.buffer()),
        }
    }

    /// The resource's guest memory.
    pub(crate) fn backing(&self, id: u32) -> Result<&Backing, Error> {
        self.backing.as_ref().ok_or(Error::NotBacked(id))
    }

    /// The resource's size in bytes.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::TwoD { buffer, .. }
            | Kind::Host { buffer, .. }
            | Kind::Shadowed { buffer, .. } => buffer.size(),
            Kind::Guest { size, .. } => *size,
        }
    }
}

/// Resources by id.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    resources: HashMap<u32, Resource>,
    next: u64,
}

impl Resources {
    /// Refuses an id that can't name a new resource, and one resource too many.
    pub(crate) fn check_free(&self, id: u32, bounds: &Bounds) -> Result<(), Error> {
        if id == 0 || self.resources.contains_key(&id) {
            return Err(Error::ResourceTaken(id));
        }
        if self.resources.len() >= bounds.resources {
            return Err(Error::Bound {
                what: "resources",
                limit: bounds.resources,
            });
        }
        Ok(())
    }

    /// Adds a resource under a free id.
    pub(crate) fn insert(
        &mut self,
        id: u32,
        kind: Kind,
        backing: Option<Backing>,
        bounds: &Bounds,
    ) -> Result<(), Error> {
        self.check_free(id, bounds)?;
        let serial = self.next;
        self.next += 1;
        let resource = Resource {
            serial,
            kind,
            backing,
            place: Place::None,
            was_mapped: false,
            view: None,
            seen: None,
        };
        self.resources.insert(id, resource);
        Ok(())
    }

    pub(crate) fn get(&self, id: u32) -> Result<&Resource, Error> {
        self.resources.get(&id).ok_or(Error::NoResource(id))
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Result<&mut Resource, Error> {
        self.resources.get_mut(&id).ok_or(Error::NoResource(id))
    }

    /// The resource that had this id when a command began.
    pub(crate) fn same(&mut self, id: u32, serial: u64) -> Result<&mut Resource, Error> {
        self.get_mut(id).and_then(|resource| {
            if resource.serial == serial {
                Ok(resource)
            } else {
                Err(Error::NoResource(id))
            }
        })
    }

    pub(crate) fn remove(&mut self, id: u32) -> Result<Resource, Error> {
        self.resources.remove(&id).ok_or(Error::NoResource(id))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Resource)> {
        self.resources.iter().map(|(id, resource)| (*id, resource))
    }
}
