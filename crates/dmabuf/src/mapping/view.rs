//! Volatile access to bytes that others may be writing.
//!
//! Scalars are single volatile accesses where they are aligned, so they don't
//! tear; everything longer goes through [`opaque`](crate::sys::opaque). Bytes
//! that race come out old or new; nothing is ever read twice behind the
//! caller's back, so what was copied out and then checked stays checked.
//!
//! A mapping can be [cut](crate::Mapping::cut) off from its memory at any
//! moment. Access meets zero pages then instead of a SIGBUS, so each one looks
//! afterwards whether that happened, which is one relaxed load.
#![expect(unsafe_code, reason = "volatile access through raw pointers")]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};

use crate::error::{Error, Result, check_bounds};
use crate::mapping::Access;
use crate::sys::opaque;
use crate::sys::region::Region;

/// A range of mapped bytes. Copying it copies no bytes.
///
/// # Invariants
/// `start..start + len` is mapped for as long as `'a`, readable, and writable
/// if `access` says so; no Rust reference to it exists during `'a`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    start: *mut u8,
    len: usize,
    access: Access,
    /// Set before the memory is replaced by zero pages.
    cut: &'a AtomicBool,
    mapped: PhantomData<&'a Region>,
}

/// For memory that is never cut off, or whose access excludes that.
pub(super) static NEVER: AtomicBool = AtomicBool::new(false);

// SAFETY: a view is an address and a length of memory that belongs to no
// thread, and every access is volatile or foreign code, which is what memory
// shared with other processes needs as well.
unsafe impl Send for View<'_> {}
// SAFETY: as above; `View` is `Copy`, so sharing it is sending it.
unsafe impl Sync for View<'_> {}

mod sealed {
    /// Only this crate names the scalars.
    pub trait Sealed {}
}

/// An integer that can be read and written as such: `u8` to `u64` and their
/// signed twins, in the byte order of this machine.
pub trait Scalar: Copy + Default + sealed::Sealed + 'static {}

macro_rules! scalars {
    ($($t:ty)*) => { $(impl sealed::Sealed for $t {} impl Scalar for $t {})* };
}
scalars!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

impl<'a> View<'a> {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where they are, for the kernel.
    pub(crate) fn address(&self) -> usize {
        self.start.addr()
    }

    /// What may be done with them.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// The same bytes, read-only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }

    /// The bytes in `range`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        let len = range.end.saturating_sub(range.start);
        self.sub(range.start, len)
    }

    /// `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn sub(&self, offset: usize, len: usize) -> Result<Self> {
        check_bounds(offset as u64, len as u64, self.len as u64)?;
        Ok(Self {
            start: self.start.wrapping_add(offset),
            len,
            ..*self
        })
    }

    /// `count` rows of `width` bytes, `stride` bytes apart, from `offset` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the last row ends past the end, and
    /// [`Error::LengthMismatch`] if rows would overlap.
    pub fn rows(
        &self,
        offset: usize,
        stride: usize,
        width: usize,
        count: usize,
    ) -> Result<Rows<'a>> {
        if width > stride {
            return Err(Error::LengthMismatch {
                expected: stride,
                found: width,
            });
        }
        let steps = (count as u64).saturating_sub(1);
        let reach = steps.saturating_mul(stride as u64);
        let last = if count == 0 { 0 } else { width as u64 };
        check_bounds(offset as u64, reach.saturating_add(last), self.len as u64)?;
        Ok(Rows {
            rest: self.sub(offset, self.len - offset)?,
            stride,
            width,
            count,
        })
    }

    /// Reads an integer at `offset`: in one access if it is aligned there.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::Revoked`], like every access.
    pub fn read_at<T: Scalar>(&self, offset: usize) -> Result<T> {
        let bytes = self.sub(offset, size_of::<T>())?;
        let source = bytes.start.cast::<T>();
        if source.is_aligned() {
            // SAFETY: `bytes` is mapped and readable for the size of a `T`,
            // aligned, and every bit pattern is a valid integer.
            let value = unsafe { source.read_volatile() };
            return self.reached().map(|()| value);
        }
        let mut value = T::default();
        // SAFETY: `bytes` is readable for the size of a `T`; `value` is a `T`
        // of ours, of which every bit pattern is valid.
        unsafe { opaque::copy(bytes.start, (&raw mut value).cast(), bytes.len) };
        self.reached().map(|()| value)
    }

    /// Writes an integer at `offset`: in one access if it is aligned there.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfBounds`].
    pub fn write_at<T: Scalar>(&self, offset: usize, value: T) -> Result<()> {
        let bytes = self.writable()?.sub(offset, size_of::<T>())?;
        let target = bytes.start.cast::<T>();
        if target.is_aligned() {
            // SAFETY: `bytes` is mapped and writable for the size of a `T`,
            // aligned, and nobody holds a reference to it.
            unsafe { target.write_volatile(value) };
            return self.reached();
        }
        // SAFETY: `value` is readable for its size, `bytes` writable for it,
        // and nobody holds a reference to `bytes`.
        unsafe { opaque::copy((&raw const value).cast(), bytes.start, bytes.len) };
        self.reached()
    }

    /// Copies bytes at `offset` out, as many as `target` holds.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn copy_to(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        let source = self.sub(offset, target.len())?;
        // SAFETY: `source` is readable for the length of `target`, which is
        // exclusively ours and can't be mapped memory.
        unsafe { opaque::copy(source.start, target.as_mut_ptr(), source.len) };
        self.reached()
    }

    /// Copies `source` in at `offset`.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfBounds`].
    pub fn copy_from(&self, offset: usize, source: &[u8]) -> Result<()> {
        let target = self.writable()?.sub(offset, source.len())?;
        // SAFETY: `source` is readable for its length, `target` writable for
        // the same, and nobody holds a reference to `target`.
        unsafe { opaque::copy(source.as_ptr(), target.start, target.len) };
        self.reached()
    }

    /// Copies all of `source` in at `offset`, mapped memory to mapped memory.
    /// The two may overlap, also as two mappings of the same memory; the latter
    /// come out in no particular order.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfBounds`].
    pub fn copy_from_view(&self, offset: usize, source: View<'_>) -> Result<()> {
        let target = self.writable()?.sub(offset, source.len)?;
        // SAFETY: `source` is readable and `target` writable for the same
        // length, and nobody holds a reference to either.
        unsafe { opaque::copy(source.start, target.start, target.len) };
        source.reached().and_then(|()| self.reached())
    }

    /// Sets `len` bytes at `offset` to `byte`.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfBounds`].
    pub fn fill(&self, offset: usize, len: usize, byte: u8) -> Result<()> {
        let target = self.writable()?.sub(offset, len)?;
        // SAFETY: `target` is writable, and nobody holds a reference to it.
        unsafe { opaque::fill(target.start, byte, target.len) };
        self.reached()
    }

    /// Whether the access that was just made reached the memory.
    ///
    /// The flag is set before the pages are replaced, so one that met the new
    /// pages finds it set: the fence keeps reads before the load, and on the way
    /// to other pages a CPU has seen all stores before their replacement. A write
    /// that is lost at that very moment may go unnoticed where CPUs reorder
    /// stores with later loads; whoever must know ends a guard, which asks again.
    fn reached(&self) -> Result<()> {
        fence(Ordering::Acquire);
        if self.cut.load(Ordering::Relaxed) {
            return Err(Error::Revoked);
        }
        Ok(())
    }

    fn writable(&self) -> Result<&Self> {
        match self.access {
            Access::ReadWrite => Ok(self),
            Access::ReadOnly => Err(Error::ReadOnly),
        }
    }
}

/// The rows of a picture, top to bottom, as one view each.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    rest: View<'a>,
    stride: usize,
    width: usize,
    count: usize,
}

impl<'a> Iterator for Rows<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        self.count = self.count.checked_sub(1)?;
        let row = self.rest.sub(0, self.width).ok()?;
        if self.count > 0 {
            self.rest = self
                .rest
                .sub(self.stride, self.rest.len - self.stride)
                .ok()?;
        }
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Rows<'_> {}

/// `len` bytes of `region` at `start`; fewer if it ends before. `cut` tells
/// whether the region was cut off from its memory.
pub(super) fn of_region<'a>(
    region: &'a Region,
    start: usize,
    len: usize,
    access: Access,
    cut: &'a AtomicBool,
) -> View<'a> {
    let start = start.min(region.len());
    // Invariants: within the region, which stays mapped for the borrow; regions
    // of this module are never reached by reference. The access is that of the
    // mapping, as the callers recorded it.
    View {
        start: region.as_ptr().wrapping_add(start),
        len: len.min(region.len() - start),
        access,
        cut,
        mapped: PhantomData,
    }
}

/// Replaces all of `region` by private zero pages.
pub(super) fn cut(region: &Region, access: Access) -> Result<()> {
    replace_all(region, Region::zeroes(region.len(), access)?)
}

/// Replaces all of `region` by `fresh`, which is as long.
pub(super) fn replace_all(region: &Region, fresh: Region) -> Result<()> {
    if fresh.len() != region.len() {
        return Err(Error::LengthMismatch {
            expected: region.len(),
            found: fresh.len(),
        });
    }
    // SAFETY: the range is the whole region, and regions of this module are
    // only reached through `View`, which makes no references.
    unsafe { region.replace(0, fresh) }
}

/// Touches every page of `region`: for writing if it can be written, without
/// changing a byte.
pub(super) fn touch(region: &Region, access: Access) {
    for at in (0..region.len()).step_by(rustix::param::page_size()) {
        let byte = region.as_ptr().wrapping_add(at);
        match access {
            Access::ReadOnly => {
                // SAFETY: `byte` is mapped and readable; reading it volatile
                // makes no assumption about who writes it.
                let _ = unsafe { byte.read_volatile() };
            }
            Access::ReadWrite => {
                // SAFETY: `byte` is mapped, writable and aligned for a byte, and
                // nobody holds a reference to it.
                let atomic = unsafe { AtomicU8::from_ptr(byte) };
                // Loses no write of whoever else writes it.
                atomic.fetch_or(0, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
