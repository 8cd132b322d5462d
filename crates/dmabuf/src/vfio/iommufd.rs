//! An IOMMU's address space by IOMMUFD, which maps files without a CPU mapping.
//!
//! `IOMMU_IOAS_MAP_FILE` takes memfds and, of dma-bufs, those of VFIO that are
//! one range. A revocation of such a dma-buf is for good as far as its map goes:
//! unmap it and map it again when the memory is back.
//!
//! A device is taken by its own node (`/dev/vfio/devices/vfio0`,
//! `Documentation/driver-api/vfio.rst`, "VFIO Device cdev"): bound to the open
//! IOMMUFD and attached to an address space. Closing it undoes both.
//!
//! Written to the headers and checked against them. Debian's kernels are built
//! without IOMMUFD, so that the lab's scenario says "not here" on all of them.
#![expect(
    unsafe_code,
    reason = "devices reach what is mapped; its end is the proof that they let go"
)]

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::mapping::Access;
use crate::storage::{LetGo, Loan};
use crate::sys::iommufd as sys;
use crate::vfio::Device;
use crate::vfio::container::open_node;

const DEVICE: &str = "/dev/iommu";

/// The open IOMMUFD device. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Iommufd(Arc<OwnedFd>);

impl Iommufd {
    /// Opens it.
    ///
    /// # Errors
    /// [`Error::NoDevice`] where the kernel has none.
    pub fn open() -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(Path::new(DEVICE), flags, Mode::empty()) {
            Ok(fd) => Ok(Self(Arc::new(fd))),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV) => Err(Error::NoDevice {
                path: DEVICE.into(),
            }),
            Err(error) => Err(Error::sys("open", error)),
        }
    }

    /// A new address space, empty.
    ///
    /// # Errors
    /// [`Error::Sys`].
    pub fn address_space(&self) -> Result<AddressSpace> {
        let id = sys::alloc_ioas(self.0.as_fd())?;
        Ok(AddressSpace(Arc::new(Space {
            iommufd: self.clone(),
            id,
        })))
    }
}

/// An address space that devices can be attached to. Clones are the same one.
#[derive(Clone, Debug)]
pub struct AddressSpace(Arc<Space>);

#[derive(Debug)]
struct Space {
    iommufd: Iommufd,
    id: u32,
}

impl AddressSpace {
    /// Its number, for those who attach devices to it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Takes the PCI device at `address` ("0000:00:03.0"), which is bound to
    /// vfio-pci already: it reaches what is mapped here, and nothing else.
    ///
    /// # Errors
    /// [`Error::NoDevice`] where there is no such device, or the kernel gives
    /// devices no nodes of their own; [`Error::Sys`] with EBUSY where somebody
    /// else has it or its group is in a container, EPERM where its interrupts
    /// are not isolated.
    pub fn device(&self, address: &str) -> Result<Device> {
        let device = open_node(&node_of(address)?)?;
        sys::bind_device(device.as_fd(), self.0.iommufd.0.as_fd())?;
        sys::attach_device(device.as_fd(), self.id())?;
        Device::new(device, address, self.clone().into())
    }

    /// Maps all of the memory that `loan` lends at `iova`, until the map is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::NotPinnable`] for a dma-buf that is not VFIO's, or of several
    /// ranges; [`Error::Sys`] with ENODEV for one that is revoked, EEXIST where
    /// something is mapped.
    pub fn map(&self, iova: u64, loan: Loan, access: Access) -> Result<IommufdMap> {
        let size = loan.size();
        // Failure gives the loan back: the kernel kept nothing of it.
        let mut map = IommufdMap {
            space: self.clone(),
            iova,
            size: 0,
            loan: Some(loan),
        };
        let Some(loan) = &map.loan else {
            return Err(Error::NotPinnable);
        };
        let fd = self.0.iommufd.0.as_fd();
        // SAFETY: `IommufdMap` keeps the loan until the range is unmapped.
        match unsafe { sys::map_file(fd, self.0.id, loan.as_fd(), size, iova, access) } {
            Ok(()) => {
                map.size = size;
                Ok(map)
            }
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Err(Error::NotPinnable),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // EBUSY while a device is attached; it goes with the descriptor then.
        let _ = sys::destroy(self.iommufd.0.as_fd(), self.id);
    }
}

/// The node of a PCI device that vfio-pci has: the name of the one entry of its
/// folder `vfio-dev`.
fn node_of(address: &str) -> Result<PathBuf> {
    let folder = PathBuf::from(format!("/sys/bus/pci/devices/{address}/vfio-dev"));
    let entry = std::fs::read_dir(&folder)
        .ok()
        .and_then(|mut entries| entries.next()?.ok());
    match entry {
        Some(entry) => Ok(Path::new("/dev/vfio/devices").join(entry.file_name())),
        None => Err(Error::NoDevice { path: folder }),
    }
}

/// Memory in an address space. Dropping it unmaps it.
#[derive(Debug)]
pub struct IommufdMap {
    space: AddressSpace,
    iova: u64,
    /// 0 while, and after, nothing is mapped.
    size: u64,
    loan: Option<Loan>,
}

impl IommufdMap {
    /// Where devices find it.
    #[must_use]
    pub fn iova(&self) -> u64 {
        self.iova
    }

    /// Unmaps it: when this returns `Ok`, no device reaches the memory.
    ///
    /// # Errors
    /// [`Error::Sys`]: devices may reach it until the address space is gone.
    pub fn unmap(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let size = std::mem::take(&mut self.size);
        if size > 0 {
            let fd = self.space.0.iommufd.0.as_fd();
            if let Err(error) = sys::unmap(fd, self.space.0.id, self.iova, size) {
                // Devices may go on writing: it stays lent.
                drop(self.loan.take());
                return Err(error);
            }
        }
        if let Some(loan) = self.loan.take() {
            // SAFETY: of what was pinned through the descriptor, the address
            // space has nothing any more, as its unmapping has just returned,
            // or it never had.
            loan.returned(unsafe { LetGo::assert() });
        }
        Ok(())
    }
}

impl Drop for IommufdMap {
    fn drop(&mut self) {
        // The ledger tells.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memfd, Storage, memfd};

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let error = node_of("ffff:ff:1f.7").unwrap_err().to_string();
        assert!(error.contains("ffff:ff:1f.7/vfio-dev"), "{error}");
    }

    #[test]
    fn a_map_of_memory_ends_with_nothing_held() {
        let iommufd = match Iommufd::open() {
            Ok(iommufd) => iommufd,
            Err(error) => {
                eprintln!("skipped: {error}");
                return;
            }
        };
        let space = iommufd.address_space().unwrap();
        let memfd = Memfd::create("iommufd", 4096, memfd::Options::default()).unwrap();
        let storage = Storage::from_memfd(memfd).unwrap();
        let map = space.map(0x10_0000, storage.lend().unwrap(), Access::ReadWrite);
        map.unwrap().unmap().unwrap();
        assert!(storage.holders().is_none());
    }
}
