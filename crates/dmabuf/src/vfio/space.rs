//! The address space that a device reaches, whichever way it was made.

use crate::error::Result;
use crate::mapping::Access;
use crate::storage::Loan;
#[cfg(feature = "iommufd")]
use crate::vfio::{AddressSpace, IommufdMap};
use crate::vfio::{Container, DmaMap};

/// The address space that a device reaches. Clones are the same one.
#[derive(Clone, Debug)]
pub enum Space {
    /// A VFIO container's.
    Container(Container),
    /// One of IOMMUFD.
    #[cfg(feature = "iommufd")]
    Iommufd(AddressSpace),
}

impl Space {
    /// Maps all of the memory that `loan` lends at `iova`, until the map is
    /// dropped.
    ///
    /// # Errors
    /// As for [`Container::map`] or `AddressSpace::map`.
    pub fn map(&self, iova: u64, loan: Loan, access: Access) -> Result<SpaceMap> {
        Ok(match self {
            Self::Container(container) => SpaceMap::Container(container.map(iova, loan, access)?),
            #[cfg(feature = "iommufd")]
            Self::Iommufd(space) => SpaceMap::Iommufd(space.map(iova, loan, access)?),
        })
    }
}

impl From<Container> for Space {
    fn from(container: Container) -> Self {
        Self::Container(container)
    }
}

#[cfg(feature = "iommufd")]
impl From<AddressSpace> for Space {
    fn from(space: AddressSpace) -> Self {
        Self::Iommufd(space)
    }
}

/// Memory in the address space of devices. Dropping it unmaps it.
#[derive(Debug)]
pub enum SpaceMap {
    /// In a container.
    Container(DmaMap),
    /// In an address space of IOMMUFD.
    #[cfg(feature = "iommufd")]
    Iommufd(IommufdMap),
}

impl SpaceMap {
    /// Unmaps it: when this returns `Ok`, no device reaches the memory.
    ///
    /// # Errors
    /// [`Error::Sys`](crate::Error::Sys): devices may reach it until the address
    /// space is gone.
    pub fn unmap(self) -> Result<()> {
        match self {
            Self::Container(map) => map.unmap(),
            #[cfg(feature = "iommufd")]
            Self::Iommufd(map) => map.unmap(),
        }
    }
}
