//! A range of this process's addresses that is ours until dropped.
#![expect(unsafe_code, reason = "mmap(2) and munmap(2)")]

use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::mm::{
    MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, mremap_fixed,
    munmap,
};

use crate::error::{Error, Result};
use crate::mapping::Access;

/// An address range made by `mmap`, unmapped when dropped.
///
/// # Invariants
/// `base..base + len` was returned by `mmap` to this value alone, is page
/// aligned, and stays mapped (perhaps `PROT_NONE`) until it is dropped.
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: an address range belongs to the process, not to a thread; the methods
// that change it are atomic in the kernel.
unsafe impl Send for Region {}
// SAFETY: as above; `&Region` only gives a raw pointer and unsafe methods.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes of `fd` at `offset`, shared, anywhere.
    pub(crate) fn map(fd: BorrowedFd<'_>, offset: u64, len: usize, access: Access) -> Result<Self> {
        // SAFETY: a null hint without MAP_FIXED lets the kernel choose free
        // addresses, so no memory in use is touched.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                protection(access),
                MapFlags::SHARED,
                fd,
                offset,
            )
        };
        Self::own(base, len)
    }

    /// Reserves `len` bytes at a multiple of `align`, of which none can be
    /// accessed. Both are multiples of the page size; `align` is a power of two.
    pub(crate) fn reserve(len: usize, align: usize) -> Result<Self> {
        let slack = align - rustix::param::page_size();
        let whole = len.checked_add(slack).ok_or(Error::OverLimit {
            what: "bytes of address space",
            asked: len as u64,
            limit: (usize::MAX - slack) as u64,
        })?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: as in `map`: the kernel chooses free addresses.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), whole, ProtFlags::empty(), flags) };
        Ok(Self::own(base, whole)?.trim(len, align))
    }

    fn own(base: rustix::io::Result<*mut std::ffi::c_void>, len: usize) -> Result<Self> {
        let base = base.map_err(|e| Error::sys("mmap", e))?;
        let base = NonNull::new(base.cast()).ok_or(Error::Sys {
            call: "mmap",
            source: std::io::Error::other("mapped at address zero"),
        })?;
        Ok(Self { base, len })
    }

    /// Gives back what lies before the first multiple of `align`, and after
    /// `len` bytes from there.
    fn trim(self, len: usize, align: usize) -> Self {
        let head = self.base.as_ptr().align_offset(align);
        let tail = self.len - head - len;
        let whole = std::mem::ManuallyDrop::new(self);
        let base = whole.base.as_ptr().wrapping_add(head);
        unmap(whole.base.as_ptr(), head);
        unmap(base.wrapping_add(len), tail);
        Self {
            base: NonNull::new(base).unwrap_or(whole.base),
            len,
        }
    }

    /// The first byte.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Maps `len` private zero pages, anywhere.
    pub(crate) fn zeroes(len: usize, access: Access) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: as in `map`: the kernel chooses free addresses.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), len, protection(access), flags) };
        Self::own(base, len)
    }

    /// Replaces what is at `at` by `fresh`, atomically.
    ///
    /// Mapping something over a range directly can fail after the kernel has
    /// unmapped what was there (a driver's mmap does, on some kernels), and the
    /// hole is then anybody's. A mapping that already stands elsewhere only has
    /// to be moved.
    ///
    /// # Safety
    /// `at..at + fresh.len()` lies within the region, and no Rust reference to
    /// it is live: only raw, volatile access may go on meanwhile.
    pub(crate) unsafe fn replace(&self, at: usize, fresh: Self) -> Result<()> {
        debug_assert!(at + fresh.len <= self.len);
        let target = self.base.as_ptr().wrapping_add(at).cast();
        let source = fresh.base.as_ptr().cast();
        // SAFETY: `source` is a whole mapping of ours that nobody else knows;
        // the caller vouches that the target is within the region, which we
        // own, and that nobody holds a reference that this would change.
        unsafe { mremap_fixed(source, fresh.len, fresh.len, MremapFlags::MAYMOVE, target) }
            .map_err(|e| Error::sys("mremap", e))?;
        // Its addresses are no longer its own.
        std::mem::forget(fresh);
        Ok(())
    }

    /// Replaces `len` bytes at `at` by a plain file's memory, atomically: for
    /// memfds of ordinary pages, whose mmap can't fail late as
    /// [`replace`](Self::replace) explains.
    ///
    /// # Safety
    /// As for [`replace`](Self::replace).
    pub(crate) unsafe fn place(
        &self,
        at: usize,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        access: Access,
    ) -> Result<()> {
        debug_assert!(at + len <= self.len);
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let target = self.base.as_ptr().wrapping_add(at).cast();
        // SAFETY: as in `replace`.
        unsafe { mmap(target, len, protection(access), flags, file, offset) }
            .map(drop)
            .map_err(|e| Error::sys("mmap", e))
    }

    /// Replaces `len` bytes at `at` by addresses that can't be accessed,
    /// atomically.
    ///
    /// # Safety
    /// As for [`replace`](Self::replace).
    pub(crate) unsafe fn vacate(&self, at: usize, len: usize) -> Result<()> {
        debug_assert!(at + len <= self.len);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        let target = self.base.as_ptr().wrapping_add(at).cast();
        // SAFETY: as in `replace`.
        unsafe { mmap_anonymous(target, len, ProtFlags::empty(), flags) }
            .map(drop)
            .map_err(|e| Error::sys("mmap", e))
    }
}

impl Region {
    /// Lets all of it be accessed as said, or not at all.
    ///
    /// # Safety
    /// No Rust reference to it is live. Raw accesses that this forbids fault.
    pub(crate) unsafe fn protect(&self, access: Option<Access>) -> Result<()> {
        let flags = match access {
            None => MprotectFlags::empty(),
            Some(Access::ReadOnly) => MprotectFlags::READ,
            Some(Access::ReadWrite) => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        // SAFETY: the range is ours, whole; the caller vouches that no reference
        // promises an access that this takes away.
        unsafe { mprotect(self.base.as_ptr().cast(), self.len, flags) }
            .map_err(|e| Error::sys("mprotect", e))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        unmap(self.base.as_ptr(), self.len);
    }
}

/// Unmaps a range that belongs to a region which gives it up.
fn unmap(base: *mut u8, len: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: the range is part of a region that the only two callers own and
    // give up: `trim` by shortening, `drop` by ending.
    let result = unsafe { munmap(base.cast(), len) };
    debug_assert!(result.is_ok(), "munmap: {result:?}");
}

fn protection(access: Access) -> ProtFlags {
    match access {
        Access::ReadOnly => ProtFlags::READ,
        Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
    }
}
