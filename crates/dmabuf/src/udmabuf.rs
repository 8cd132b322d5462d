//! Turning memfd memory into a dma-buf: `/dev/udmabuf`,
//! `include/uapi/linux/udmabuf.h`.
//!
//! The kernel answers almost every mistake with EINVAL, so everything is checked
//! here first, where the reason can still be told.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::SealFlags;

use crate::dma_buf::DmaBuf;
use crate::error::{Error, Result, check_aligned, check_bounds};
use crate::identity::Identity;
use crate::memfd::Memfd;
use crate::sys;
use crate::sys::uapi::UdmabufItem;

/// Where the device is.
pub const DEVICE: &str = "/dev/udmabuf";
/// Where its limits are.
const PARAMETERS: &str = "/sys/module/udmabuf/parameters";

/// What one udmabuf may be made of. Both can be changed at run time by root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Items in one list, after merging.
    pub items: usize,
    /// Bytes in all.
    pub bytes: u64,
}

impl Default for Limits {
    /// The kernel's own: 1024 items, 64 MiB.
    fn default() -> Self {
        Self {
            items: 1024,
            bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The limits now in force; the kernel's defaults where it doesn't tell.
    #[must_use]
    pub fn read() -> Self {
        Self::read_from(Path::new(PARAMETERS))
    }

    fn read_from(parameters: &Path) -> Self {
        let read = |name| -> Option<u64> {
            let text = fs::read_to_string(parameters.join(name)).ok()?;
            text.trim().parse().ok()
        };
        let default = Self::default();
        Self {
            items: read("list_limit")
                .and_then(|items| items.try_into().ok())
                .unwrap_or(default.items),
            bytes: read("size_limit_mb")
                .and_then(|mib| mib.checked_mul(1 << 20))
                .unwrap_or(default.bytes),
        }
    }
}

/// A range of a memfd that becomes part of a udmabuf.
#[derive(Clone, Copy, Debug)]
pub struct Item<'fd> {
    /// A memfd, sealed against shrinking and not against writing.
    pub fd: BorrowedFd<'fd>,
    /// Where the range starts, in bytes; whole pages.
    pub offset: u64,
    /// How long it is, in bytes; whole pages.
    pub len: u64,
}

/// The open udmabuf device.
#[derive(Debug)]
pub struct Udmabuf {
    device: OwnedFd,
}

impl Udmabuf {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if this machine has none, [`Error::Sys`] if it may
    /// not be opened.
    pub fn open() -> Result<Self> {
        let device = sys::fd::open_device(Path::new(DEVICE))?;
        Ok(Self { device })
    }

    /// The limits now in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::read()
    }

    /// Makes a dma-buf of `len` bytes at `offset` of `memfd`. The memory stays
    /// shared with `memfd`.
    ///
    /// # Errors
    /// As for [`Udmabuf::create_list`].
    pub fn create(&self, memfd: &impl AsFd, offset: u64, len: u64) -> Result<DmaBuf> {
        let fd = memfd.as_fd();
        self.create_list(&[Item { fd, offset, len }])
    }

    /// Makes one dma-buf of several ranges, in order. Neighbours are merged
    /// before they are counted.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Misaligned`], [`Error::OutOfBounds`] and
    /// [`Error::Unsuitable`] for what the caller handed in,
    /// [`Error::OverLimit`] for more than [`Limits`], [`Error::Sys`] for the
    /// rest.
    pub fn create_list(&self, items: &[Item<'_>]) -> Result<DmaBuf> {
        let fd = self.make(items)?;
        // The ranges' memfds are the caller's: this buffer is not secluded.
        Ok(DmaBuf::adopt(fd, false))
    }

    /// Makes a dma-buf of all of `memfd`, and closes the memfd: the dma-buf is
    /// then the only way to the memory, if the memfd was never borrowed.
    ///
    /// # Errors
    /// As for [`Udmabuf::create_list`].
    pub fn wrap(&self, memfd: Memfd) -> Result<DmaBuf> {
        let item = Item {
            fd: memfd.quietly(),
            offset: 0,
            len: memfd.size()?,
        };
        let fd = self.make(&[item])?;
        Ok(DmaBuf::adopt(fd, memfd.is_secluded()))
    }

    /// The same, keeping the memfd within the buffer: the kernel can't pin a
    /// udmabuf for a device through its mapping, but it can the memfd's pages.
    ///
    /// # Errors
    /// As for [`Udmabuf::create_list`].
    pub fn wrap_keeping(&self, memfd: Memfd) -> Result<DmaBuf> {
        let item = Item {
            fd: memfd.quietly(),
            offset: 0,
            len: memfd.size()?,
        };
        let fd = self.make(&[item])?;
        Ok(DmaBuf::adopt(fd, memfd.is_secluded()).keeping(memfd))
    }

    fn make(&self, items: &[Item<'_>]) -> Result<OwnedFd> {
        let merged = merge(items)?;
        check(&merged, self.limits())?;
        let raw: Vec<_> = merged.iter().map(to_raw).collect();
        match raw.as_slice() {
            [single] => sys::ioctl::udmabuf_create(self.device.as_fd(), *single),
            several => sys::ioctl::udmabuf_create_list(self.device.as_fd(), several),
        }
    }
}

fn to_raw(item: &Item<'_>) -> UdmabufItem {
    UdmabufItem {
        memfd: item.fd.as_raw_fd().cast_unsigned(),
        pad: 0,
        offset: item.offset,
        size: item.len,
    }
}

/// Joins ranges that follow each other in the same memory.
fn merge<'fd>(items: &[Item<'fd>]) -> Result<Vec<Item<'fd>>> {
    let mut merged: Vec<(Identity, Item<'fd>)> = Vec::new();
    for item in items {
        let identity = Identity::of(item.fd)?;
        if let Some((last_identity, last)) = merged.last_mut()
            && *last_identity == identity
            && last.offset.checked_add(last.len) == Some(item.offset)
            && let Some(len) = last.len.checked_add(item.len)
        {
            last.len = len;
            continue;
        }
        merged.push((identity, *item));
    }
    Ok(merged.into_iter().map(|(_, item)| item).collect())
}

/// Everything that the kernel would refuse without a reason.
fn check(items: &[Item<'_>], limits: Limits) -> Result<()> {
    if items.is_empty() {
        return Err(Error::Empty { what: "a udmabuf" });
    }
    if items.len() > limits.items {
        return Err(Error::OverLimit {
            what: "items of a udmabuf (list_limit)",
            asked: items.len() as u64,
            limit: limits.items as u64,
        });
    }
    let mut total = 0u64;
    for item in items {
        check_item(item)?;
        total = total.saturating_add(item.len);
    }
    if total > limits.bytes {
        return Err(Error::OverLimit {
            what: "bytes of a udmabuf (size_limit_mb)",
            asked: total,
            limit: limits.bytes,
        });
    }
    Ok(())
}

fn check_item(item: &Item<'_>) -> Result<()> {
    let page = sys::page::page_size();
    if item.len == 0 {
        return Err(Error::Empty {
            what: "a range of a udmabuf",
        });
    }
    check_aligned("udmabuf offset", item.offset, page)?;
    check_aligned("udmabuf length", item.len, page)?;
    let nature = sys::fd::nature(item.fd)?;
    let reason = match sys::fd::seals(item.fd) {
        None => "it is not a memfd",
        Some(seals) if !seals.contains(SealFlags::SHRINK) => "it is not sealed against shrinking",
        Some(seals) if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) => {
            "it is sealed against writing"
        }
        Some(_) => return check_bounds(item.offset, item.len, nature.size.unwrap_or(0)),
    };
    Err(Error::Unsuitable { reason })
}

#[cfg(test)]
mod tests;
