//! udmabuf over a memfd of small or huge pages (include/uapi/linux/udmabuf.h).

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::{Access, Exported, Exporter, Refused};
use crate::sys::dma_buf::{UdmabufCreate, udmabuf_create};

const HUGE_PAGE: u64 = 2 << 20;

/// The udmabuf device and what it is given.
#[derive(Debug)]
pub struct OverMemfd {
    device: File,
    huge: bool,
}

impl OverMemfd {
    /// Over small pages.
    ///
    /// # Errors
    /// When there is no udmabuf.
    pub fn small() -> std::io::Result<Self> {
        Self::open(false)
    }

    /// Over huge pages of 2 MiB, which must have been reserved.
    ///
    /// # Errors
    /// When there is no udmabuf.
    pub fn huge() -> std::io::Result<Self> {
        Self::open(true)
    }

    fn open(huge: bool) -> std::io::Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/udmabuf")?;
        Ok(Self { device, huge })
    }

    fn memfd(&self, size: u64) -> Result<OwnedFd, Refused> {
        let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        if self.huge {
            flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        }
        let memfd = memfd_create("backing", flags)?;
        ftruncate(&memfd, size)?;
        fcntl_add_seals(&memfd, SealFlags::SHRINK)?;
        Ok(memfd)
    }
}

impl Exporter for OverMemfd {
    fn name(&self) -> &'static str {
        if self.huge { "udmabuf-huge" } else { "udmabuf" }
    }

    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        if access == Access::ReadOnly {
            return Err(Refused::NotOffered);
        }
        let size = if self.huge {
            size.next_multiple_of(HUGE_PAGE)
        } else {
            size
        };
        let memfd = self.memfd(size)?;
        let create = UdmabufCreate {
            memfd: memfd.as_raw_fd().cast_unsigned(),
            // UDMABUF_FLAGS_CLOEXEC
            flags: 1,
            offset: 0,
            size,
        };
        let fd = udmabuf_create(&self.device, create)?;
        Ok(Exported::new(fd, size).seen_by_owner(memfd, 0))
    }
}
