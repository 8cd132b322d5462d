//! userfaultfd: page faults of ours that wait until we let them go on
//! (`include/uapi/linux/userfaultfd.h`,
//! `Documentation/admin-guide/mm/userfaultfd.rst`).
#![expect(
    unsafe_code,
    reason = "ioctl(2) takes a pointer that the kernel follows"
)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};
use rustix::mm::UserfaultfdFlags;

use crate::error::{Error, Result};
use crate::sys::fd::open_device;
use crate::sys::ioctl::{adopt, call, call_with};
use crate::sys::region::Region;

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_range`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Addresses {
    start: u64,
    len: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    range: Addresses,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    range: Addresses,
    mode: u64,
}

/// `UFFD_API`.
const VERSION: u64 = 0xaa;
/// `UFFD_FEATURE_PAGEFAULT_FLAG_WP`.
const FEATURE_WP: u64 = 1;
/// `UFFD_FEATURE_EVENT_REMAP`: a range that is moved stays registered; whoever
/// moves it waits until that was read.
const FEATURE_REMAP: u64 = 1 << 2;
/// `UFFD_FEATURE_WP_HUGETLBFS_SHMEM`.
const FEATURE_WP_SHARED: u64 = 1 << 12;
/// `UFFD_FEATURE_WP_UNPOPULATED`.
const FEATURE_WP_EMPTY: u64 = 1 << 13;

/// `UFFDIO_REGISTER_MODE_MISSING`: first access to a page waits.
pub(crate) const MISSING: u64 = 1;
/// `UFFDIO_REGISTER_MODE_WP`: writes to protected pages wait.
pub(crate) const WRITE_PROTECT: u64 = 2;

const API: Opcode = opcode::read_write::<Api>(0xaa, 0x3f);
const REGISTER: Opcode = opcode::read_write::<Register>(0xaa, 0);
const UNREGISTER: Opcode = opcode::read::<Addresses>(0xaa, 1);
const WAKE: Opcode = opcode::read::<Addresses>(0xaa, 2);
const PROTECT: Opcode = opcode::read_write::<WriteProtect>(0xaa, 6);
/// `USERFAULTFD_IOC_NEW`.
const NEW: Opcode = opcode::none(0xaa, 0);

const DEVICE: &str = "/dev/userfaultfd";

/// An open userfaultfd.
#[derive(Debug)]
pub(crate) struct Userfault {
    fd: OwnedFd,
    /// Whether faults that the kernel takes on our behalf wait as well.
    pub(crate) sees_kernel: bool,
}

impl Userfault {
    /// Opens one: that sees the kernel's faults where this process may.
    pub(crate) fn open() -> Result<Self> {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
        if let Ok(device) = open_device(Path::new(DEVICE)) {
            let argument = std::ptr::without_provenance_mut(flags.bits() as usize);
            // SAFETY: this ioctl takes its argument as a number.
            let fd = unsafe { call(device.as_fd(), "USERFAULTFD_IOC_NEW", NEW, argument) }?;
            // SAFETY: the call succeeded, and its return value is a new
            // descriptor.
            return Self::shake_hands(unsafe { adopt(fd) }, true);
        }
        // SAFETY: nothing is registered with it but regions of this crate,
        // which are only accessed by volatile or foreign code.
        match unsafe { rustix::mm::userfaultfd(flags) } {
            Ok(fd) => Self::shake_hands(fd, true),
            Err(Errno::PERM) => {
                // `UFFD_USER_MODE_ONLY`.
                let flags = flags | UserfaultfdFlags::from_bits_retain(1);
                // SAFETY: as above.
                let fd = unsafe { rustix::mm::userfaultfd(flags) };
                Self::shake_hands(fd.map_err(|e| Error::sys("userfaultfd", e))?, false)
            }
            Err(e) => Err(Error::sys("userfaultfd", e)),
        }
    }

    fn shake_hands(fd: OwnedFd, sees_kernel: bool) -> Result<Self> {
        let mut api = Api {
            api: VERSION,
            features: FEATURE_WP | FEATURE_REMAP | FEATURE_WP_SHARED | FEATURE_WP_EMPTY,
            ioctls: 0,
        };
        // SAFETY: the ioctl reads and writes a `uffdio_api`, which is flat.
        let done = unsafe { call_with(fd.as_fd(), "UFFDIO_API", API, &mut api) };
        match done {
            Ok(_) => Ok(Self { fd, sees_kernel }),
            // EVENT_REMAP is not for everybody on some kernels.
            Err(error) => Err(error),
        }
    }

    /// Registers all of `region` in `mode`.
    pub(crate) fn register(&self, region: &Region, mode: u64) -> Result<()> {
        let mut register = Register {
            range: addresses(region),
            mode,
            ioctls: 0,
        };
        // SAFETY: the ioctl reads and writes a `uffdio_register`, flat. What it
        // registers is a live region, so that accesses wait and change nothing.
        unsafe { call_with(self.as_fd(), "UFFDIO_REGISTER", REGISTER, &mut register) }.map(drop)
    }

    /// Takes back what [`register`](Self::register) did.
    pub(crate) fn unregister(&self, region: &Region) -> Result<()> {
        let mut range = addresses(region);
        // SAFETY: the ioctl reads a `uffdio_range`, flat.
        unsafe { call_with(self.as_fd(), "UFFDIO_UNREGISTER", UNREGISTER, &mut range) }.map(drop)
    }

    /// Lets writes to the region wait, or lets them go on.
    pub(crate) fn protect(&self, region: &Region, on: bool) -> Result<()> {
        let mut protect = WriteProtect {
            range: addresses(region),
            mode: on.into(),
        };
        // SAFETY: the ioctl reads a `uffdio_writeprotect`, flat.
        unsafe { call_with(self.as_fd(), "UFFDIO_WRITEPROTECT", PROTECT, &mut protect) }.map(drop)
    }

    /// Lets whoever waits at the region try again.
    pub(crate) fn wake(&self, region: &Region) -> Result<()> {
        let mut range = addresses(region);
        // SAFETY: the ioctl reads a `uffdio_range`, flat.
        unsafe { call_with(self.as_fd(), "UFFDIO_WAKE", WAKE, &mut range) }.map(drop)
    }
}

impl AsFd for Userfault {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn addresses(region: &Region) -> Addresses {
    Addresses {
        start: region.as_ptr().addr() as u64,
        len: region.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux_raw_sys::{general, ioctl};

    #[test]
    fn opcodes_are_the_kernels() {
        assert_eq!(API, ioctl::UFFDIO_API);
        assert_eq!(REGISTER, ioctl::UFFDIO_REGISTER);
        assert_eq!(UNREGISTER, ioctl::UFFDIO_UNREGISTER);
        assert_eq!(WAKE, ioctl::UFFDIO_WAKE);
        assert_eq!(PROTECT, ioctl::UFFDIO_WRITEPROTECT);
        assert_eq!(NEW, general::USERFAULTFD_IOC << 8);
    }

    #[test]
    fn flags_are_the_kernels() {
        assert_eq!(VERSION, u64::from(general::UFFD_API));
        let features = [
            (FEATURE_WP, general::UFFD_FEATURE_PAGEFAULT_FLAG_WP),
            (FEATURE_REMAP, general::UFFD_FEATURE_EVENT_REMAP),
            (FEATURE_WP_SHARED, general::UFFD_FEATURE_WP_HUGETLBFS_SHMEM),
            (FEATURE_WP_EMPTY, general::UFFD_FEATURE_WP_UNPOPULATED),
            (MISSING, general::UFFDIO_REGISTER_MODE_MISSING),
            (WRITE_PROTECT, general::UFFDIO_REGISTER_MODE_WP),
        ];
        for (ours, theirs) in features {
            assert_eq!(ours, u64::from(theirs));
        }
    }
}
