//! NUMA nodes: which there are, and whose memory a file's pages are made of.
//! `include/uapi/linux/mempolicy.h`, `get_mempolicy(2)`, `mbind(2)`.
#![expect(unsafe_code, reason = "get_mempolicy(2), mbind(2) and madvise(2)")]

use std::ffi::{c_ulong, c_void};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr;

use rustix::mm::{Advice, madvise};

use crate::error::{Error, Result};
use crate::mapping::Access;
use crate::sys::region::Region;

/// As many nodes as a kernel may be built for (`MAX_NUMNODES`), and more.
const NODES: usize = 4096;
const WORD: usize = c_ulong::BITS as usize;

/// `MPOL_F_MEMS_ALLOWED`.
const MEMS_ALLOWED: c_ulong = 1 << 2;

/// A set of nodes, as the kernel has it.
type Mask = [c_ulong; NODES / WORD];

/// Checks that this process may have memory of `node`.
///
/// # Errors
/// [`Error::NoNode`] if not, [`Error::Sys`] with ENOSYS if the kernel was built
/// without NUMA, with EPERM where a sandbox forbids the question.
pub(crate) fn check_node(node: u32) -> Result<()> {
    let mut mask: Mask = [0; NODES / WORD];
    // SAFETY: with MEMS_ALLOWED the kernel writes NODES bits at most to
    // `mask`, which has them; a null pointer asks for no mode.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            ptr::null_mut::<c_void>(),
            mask.as_mut_ptr(),
            NODES,
            ptr::null_mut::<c_void>(),
            MEMS_ALLOWED,
        )
    };
    done("get_mempolicy", answer)?;
    let at = node as usize;
    match mask.get(at / WORD) {
        Some(word) if word & (1 << (at % WORD)) != 0 => Ok(()),
        _ => Err(Error::NoNode { node }),
    }
}

/// Has the pages of a memfd without any, `len` bytes long, made of `node`'s
/// memory and no other's.
///
/// Files of ordinary pages keep that rule, whoever touches them. Files of huge
/// pages can't: theirs are all made here.
///
/// # Errors
/// [`Error::Sys`]: of `mbind` as the kernel refuses it, of `madvise` where the
/// node has not enough huge pages.
pub(crate) fn bind(fd: BorrowedFd<'_>, len: usize, node: u32, huge_pages: bool) -> Result<()> {
    let region = Region::map(fd, 0, len, Access::ReadWrite)?;
    let mut mask: Mask = [0; NODES / WORD];
    let at = node as usize;
    let word = mask.get_mut(at / WORD).ok_or(Error::NoNode { node })?;
    *word = 1 << (at % WORD);
    // SAFETY: `region` is a mapping of ours, whole, and the policy changes where
    // its pages are made, never what they hold; the kernel reads NODES - 1 bits of
    // `mask`, which has them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            region.as_ptr(),
            region.len(),
            libc::MPOL_BIND,
            mask.as_ptr(),
            NODES,
            0,
        )
    };
    done("mbind", answer)?;
    if !huge_pages {
        return Ok(());
    }
    let start = region.as_ptr().cast();
    // SAFETY: `start` and the length are `region`'s, which is mapped for writing;
    // populating it changes no byte.
    unsafe { madvise(start, region.len(), Advice::LinuxPopulateWrite) }
        .map_err(|e| Error::sys("madvise", e))
}

fn done(call: &'static str, answer: i64) -> Result<()> {
    if answer == 0 {
        return Ok(());
    }
    Err(Error::sys(call, io::Error::last_os_error()))
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::mempolicy;

    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(MEMS_ALLOWED, c_ulong::from(mempolicy::MPOL_F_MEMS_ALLOWED));
        assert_eq!(libc::MPOL_BIND.cast_unsigned(), mempolicy::MPOL_BIND as u32);
        assert!(u32::try_from(NODES).is_ok_and(|nodes| nodes > 1024));
    }
}
