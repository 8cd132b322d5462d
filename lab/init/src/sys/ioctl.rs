//! One ioctl with one structure, checked against the size that its number
//! carries (include/uapi/asm-generic/ioctl.h).
#![expect(unsafe_code, reason = "ioctl(2) has no safe form")]

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::io::Errno;

/// A structure that an ioctl takes.
///
/// # Safety
/// It is `repr(C)` without padding, valid for every bit pattern, and no ioctl
/// that this crate names takes one of its fields as an address to write to.
pub unsafe trait Argument {}

// SAFETY: an integer is itself; the ioctls that take one take it as a value.
unsafe impl Argument for u32 {}

/// Calls the ioctl `op`, whose number says that it takes a `T`.
///
/// # Errors
/// What the kernel says.
///
/// # Panics
/// When the number says another size: a mistake in this crate.
pub fn ioctl<T: Argument>(fd: impl AsFd, op: u32, argument: &mut T) -> Result<i32, Errno> {
    let said = (op >> 16) & 0x3fff;
    assert_eq!(said as usize, size_of::<T>(), "ioctl {op:#x}");
    // SAFETY: the number carries the size of `T`, so that the kernel copies at
    // most that many bytes in and out, and any bytes are a valid `T`.
    unsafe { call(fd, op, std::ptr::from_mut(argument).cast()) }
}

/// Calls the ioctl `op` of VFIO or KVM, whose number carries no size.
///
/// # Safety
/// The kernel takes `argument` for this number to be of a size of at most `T`:
/// by its definition, or because a field of it says so.
///
/// # Errors
/// What the kernel says.
pub(super) unsafe fn ioctl_unsized<T: Argument>(
    fd: impl AsFd,
    op: u32,
    argument: &mut T,
) -> Result<i32, Errno> {
    // SAFETY: the caller vouches for the size; any bytes are a valid `T`.
    unsafe { call(fd, op, std::ptr::from_mut(argument).cast()) }
}

/// Calls the ioctl `op` with a plain number, or with an address that the kernel
/// is to find bad.
///
/// # Errors
/// What the kernel says.
pub fn ioctl_value(fd: impl AsFd, op: u32, value: usize) -> Result<i32, Errno> {
    let encoded = (op >> 16) & 0x3fff;
    assert!(
        encoded == 0 || value < 4096,
        "ioctl {op:#x} would use {value:#x}"
    );
    // SAFETY: either the number carries no structure, and the kernel takes the
    // value as it is, or the value is an address in the first page, where
    // nothing of ours can be.
    unsafe { call(fd, op, std::ptr::without_provenance_mut(value)) }
}

/// # Safety
/// `argument` is what the kernel takes for `op`, or harmless.
unsafe fn call(fd: impl AsFd, op: u32, argument: *mut libc::c_void) -> Result<i32, Errno> {
    loop {
        // SAFETY: the caller vouches for the argument; the descriptor is open.
        let returned =
            unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::c_ulong::from(op), argument) };
        if returned >= 0 {
            return Ok(returned);
        }
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if errno != libc::EINTR {
            return Err(Errno::from_raw_os_error(errno));
        }
    }
}

/// `ok`, or the error's name.
pub fn answer<T>(result: Result<T, Errno>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(errno) => errno_name(errno),
    }
}

/// The name of an error as the kernel's headers write it.
#[must_use]
pub fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::ACCESS => "EACCES",
        Errno::AGAIN => "EAGAIN",
        Errno::BADF => "EBADF",
        Errno::BADFD => "EBADFD",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::FAULT => "EFAULT",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::NODEV => "ENODEV",
        Errno::NOENT => "ENOENT",
        Errno::NOMEM => "ENOMEM",
        Errno::NOSYS => "ENOSYS",
        Errno::NOTTY => "ENOTTY",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::OVERFLOW => "EOVERFLOW",
        Errno::PERM => "EPERM",
        Errno::SPIPE => "ESPIPE",
        Errno::TXTBSY => "ETXTBSY",
        _ => return format!("errno {}", errno.raw_os_error()),
    };
    name.to_owned()
}
