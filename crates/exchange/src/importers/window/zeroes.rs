//! Zero pages where a buffer's memory was taken away.
//!
//! A guest's driver knows nothing of a revocation and goes on looking into its
//! window. In a hole its reads give all ones, its writes are lost, and under KVM
//! some instructions that come there end the guest's program. VMMs have no
//! request that replaces a mapping, so that there is a hole for as long as the
//! VMM takes for two answers.

use std::os::fd::AsFd as _;

use landbridge_dmabuf::{Memfd, memfd};

use crate::error::Error;
use crate::importers::window::book::Place;
use crate::importers::window::{MapperError, WindowError, WindowMap};
use crate::tenant::{Charge, Resource, Tenant};

/// Zero pages that the VMM maps in a place. Nobody else has them: what the guest
/// writes there, it alone reads, until they are unmapped. They are paid for as
/// any memory, by whoever pays for the map.
pub(super) struct Zeroes(Charge);

impl Zeroes {
    /// Has the VMM map as many as the place is long.
    pub(super) fn map(place: &Place, tenant: &Tenant) -> Result<Self, Error> {
        let charge = tenant.charge(Resource::Bytes, place.len())?;
        // Nothing is lent of it: the descriptor ends here.
        let memory = Memfd::create("zero pages", place.len(), memfd::Options::default())?;
        let mapped = place.window().mapper().map(&WindowMap {
            file: memory.as_fd(),
            offset: place.offset(),
            len: place.len(),
        });
        mapped.map_err(WindowError::from)?;
        Ok(Self(charge))
    }

    /// Has the VMM unmap them. After an error they may still be there.
    pub(super) fn unmap(self, place: &Place) -> Result<(), WindowError> {
        let unmapped = place.window().mapper().unmap(place.offset(), place.len());
        drop(self.0);
        match unmapped {
            // Whoever else may still reach them sees nothing of ours.
            Ok(_) | Err(MapperError::HoldsNothing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
