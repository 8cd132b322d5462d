//! Bulk copies of memory that others may be writing.
//!
//! `ptr::copy` would let the compiler assume that the bytes hold still: it may
//! read them twice, or not at all. A loop of volatile words makes no such
//! assumption but can't be vectorised. So the copies call the C library's
//! `memmove` and `memset` through a function pointer that is read volatile: the
//! compiler can't know what is called, treats it as a foreign function, and can
//! neither repeat, drop, split nor look through the access. The C library's
//! code is machine code without Rust's memory model: racing bytes come out old
//! or new.
//!
//! It may use wide and unaligned accesses, so this is for memory of any caching
//! (WB, WC), not for device registers.
#![expect(unsafe_code, reason = "copies through raw pointers")]

use std::ffi::c_void;
use std::ptr;

static MEMMOVE: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void =
    libc::memmove;
static MEMSET: unsafe extern "C" fn(*mut c_void, i32, usize) -> *mut c_void = libc::memset;

/// Copies `len` bytes; the two may overlap.
///
/// # Safety
/// `source` is readable and `target` writable for `len` bytes, and no Rust
/// reference to `target`'s bytes is live (an exclusive one, to `source`'s).
pub(crate) unsafe fn copy(source: *const u8, target: *mut u8, len: usize) {
    // SAFETY: a static is valid, aligned and initialised.
    let memmove = unsafe { ptr::read_volatile(&raw const MEMMOVE) };
    // SAFETY: the caller vouches for both ranges; memmove allows overlap.
    unsafe { memmove(target.cast(), source.cast(), len) };
}

/// Sets `len` bytes to `byte`.
///
/// # Safety
/// `target` is writable for `len` bytes, and no Rust reference to them is live.
pub(crate) unsafe fn fill(target: *mut u8, byte: u8, len: usize) {
    // SAFETY: a static is valid, aligned and initialised.
    let memset = unsafe { ptr::read_volatile(&raw const MEMSET) };
    // SAFETY: the caller vouches for the range.
    unsafe { memset(target.cast(), byte.into(), len) };
}
