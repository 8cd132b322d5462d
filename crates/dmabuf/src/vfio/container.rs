//! An IOMMU's address space, and what is mapped in it.
#![expect(
    unsafe_code,
    reason = "devices reach what is mapped; its end is the proof that they let go"
)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::mapping::{Access, Mapping};
use crate::storage::{LetGo, Loan};
use crate::sys::vfio as sys;
use crate::vfio::Device;

const CONTAINER: &str = "/dev/vfio/vfio";

/// An IOMMU's address space (VFIO type 1). Clones are the same one.
#[derive(Clone, Debug)]
pub struct Container(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    /// By their numbers.
    groups: Mutex<BTreeMap<String, OwnedFd>>,
}

impl Container {
    /// Opens an empty one.
    ///
    /// # Errors
    /// [`Error::NoDevice`] where this machine has no VFIO.
    pub fn open() -> Result<Self> {
        let fd = open_node(Path::new(CONTAINER))?;
        if sys::api_version(fd.as_fd())? != sys::API_VERSION
            || !sys::has_extension(fd.as_fd(), sys::TYPE1_V2)?
        {
            return Err(Error::NoDevice {
                path: CONTAINER.into(),
            });
        }
        Ok(Self(Arc::new(Inner {
            fd,
            groups: Mutex::default(),
        })))
    }

    /// Takes the PCI device at `address` ("0000:00:03.0") in, with its group.
    /// It is bound to vfio-pci already.
    ///
    /// # Errors
    /// [`Error::NoDevice`] where there is no such device or it has no group;
    /// [`Error::Sys`] with EBUSY where others of its group are not bound, or
    /// somebody else has it.
    pub fn device(&self, address: &str) -> Result<Device> {
        let number = group_of(address)?;
        let name = CString::new(address).map_err(|_| Error::BadName {
            name: address.to_owned(),
            reason: "contains a NUL",
        })?;
        let mut groups = self
            .0
            .groups
            .lock()
            // Changed by single inserts.
            .unwrap_or_else(PoisonError::into_inner);
        if !groups.contains_key(&number) {
            let group = self.join(&number)?;
            if groups.is_empty() {
                sys::set_iommu(self.as_fd(), sys::TYPE1_V2)?;
            }
            groups.insert(number.clone(), group);
        }
        let device = sys::group_device(groups[&number].as_fd(), &name)?;
        drop(groups);
        Device::new(device, address, self.clone().into())
    }

    fn join(&self, number: &str) -> Result<OwnedFd> {
        let group = open_node(&Path::new("/dev/vfio").join(number))?;
        if sys::group_flags(group.as_fd())? & sys::VIABLE == 0 {
            return Err(Error::sys(
                "VFIO_GROUP_GET_STATUS",
                std::io::Error::from_raw_os_error(libc::EBUSY),
            ));
        }
        sys::group_set_container(group.as_fd(), self.as_fd())?;
        Ok(group)
    }

    /// Pins all of the memory that `loan` lends and maps it at `iova`, until the
    /// map is dropped. The kernel pins through a mapping of ordinary pages: a
    /// memfd's, for a udmabuf the one that it [kept](crate::Udmabuf::wrap_keeping).
    ///
    /// # Errors
    /// [`Error::NotPinnable`] for a driver's memory (a udmabuf, a heap's buffer);
    /// [`Error::Sys`] with EEXIST where something is mapped there, ENOMEM past
    /// the process's limit of locked memory, EINVAL for an `iova` that is no
    /// page's or that the IOMMU does not have.
    pub fn map(&self, iova: u64, loan: Loan, access: Access) -> Result<DmaMap> {
        let mapping = loan.map_pages(access);
        self.map_with(iova, mapping, Some(loan))
    }

    /// The same for memory that is nobody's storage, mapped already: it belongs
    /// to the map from now on.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    pub fn map_mapping(&self, iova: u64, mapping: Mapping) -> Result<DmaMap> {
        self.map_with(iova, Ok(mapping), None)
    }

    fn map_with(&self, iova: u64, mapping: Result<Mapping>, loan: Option<Loan>) -> Result<DmaMap> {
        // From here on, failure gives the loan back: nobody has seen it.
        let mut map = DmaMap {
            container: self.clone(),
            iova,
            size: 0,
            mapping: None,
            loan,
        };
        let mapping = mapping?;
        let view = mapping.view();
        // SAFETY: `DmaMap` keeps the loan, or the mapping that is nobody's
        // storage, until the range is unmapped.
        match unsafe { sys::map_dma(self.as_fd(), view, iova) } {
            Ok(()) => {
                map.size = view.len() as u64;
                map.mapping = Some(mapping);
                Ok(map)
            }
            Err(error) if error.errno() == Some(libc::EFAULT) => Err(Error::NotPinnable),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Container {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// Memory in a container's address space. Dropping it unmaps and unpins it.
#[derive(Debug)]
pub struct DmaMap {
    container: Container,
    iova: u64,
    /// 0 while, and after, nothing is mapped.
    size: u64,
    mapping: Option<Mapping>,
    loan: Option<Loan>,
}

impl DmaMap {
    /// Where devices find it.
    #[must_use]
    pub fn iova(&self) -> u64 {
        self.iova
    }

    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Unmaps it: when this returns `Ok`, no device reaches the memory.
    ///
    /// # Errors
    /// [`Error::Sys`]: devices may reach it until the container is gone.
    pub fn unmap(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let size = std::mem::take(&mut self.size);
        if size > 0
            && let Err(error) = sys::unmap_dma(self.container.as_fd(), self.iova, size)
        {
            // Devices may go on writing: it stays what it is, and stays lent.
            std::mem::forget(self.mapping.take());
            drop(self.loan.take());
            return Err(error);
        }
        drop(self.mapping.take());
        if let Some(loan) = self.loan.take() {
            // SAFETY: the descriptor was used for one mapping, which is gone; of
            // what was pinned through it, the container has nothing any more, as
            // its unmapping has just returned, or it never had.
            loan.returned(unsafe { LetGo::assert() });
        }
        Ok(())
    }
}

impl Drop for DmaMap {
    fn drop(&mut self) {
        // The ledger tells, if there is one.
        let _ = self.end();
    }
}

/// The number of a PCI device's group.
fn group_of(address: &str) -> Result<String> {
    let path = PathBuf::from(format!("/sys/bus/pci/devices/{address}/iommu_group"));
    let target = std::fs::read_link(&path).map_err(|_| Error::NoDevice { path: path.clone() })?;
    match target.file_name() {
        Some(number) => Ok(number.to_string_lossy().into_owned()),
        None => Err(Error::NoDevice { path }),
    }
}

pub(super) fn open_node(path: &Path) -> Result<OwnedFd> {
    match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(fd),
        Err(rustix::io::Errno::NOENT) => Err(Error::NoDevice {
            path: path.to_owned(),
        }),
        Err(error) => Err(Error::sys("open", error)),
    }
}
