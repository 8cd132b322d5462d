//! The crate's only unsafe code: what the compiler can't see.
#![expect(
    unsafe_code,
    reason = "states what a VMM's answer means, borrows a raw descriptor, asks of a socket"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use landbridge_dmabuf::LetGo;

use crate::backend::{Acknowledged, Unsent};

/// The proof that an unmapped buffer is nobody's any more.
pub(crate) fn let_go(_answer: Acknowledged) -> LetGo {
    // SAFETY: a duplicate of the loan's descriptor went to the VMM with
    // SHMEM_MAP and nowhere else (the gate in between drops its own before it
    // passes the answer on), and none is in flight: the VMM answered that
    // message. `Acknowledged` exists only after it also answered the
    // SHMEM_UNMAP, which says that the guest's mapping and the VMM's own are
    // gone, and with them the VMM's duplicate. What the VMM announced of the
    // memory in between came back to us as a memory region; `Acknowledged`
    // exists only once no region of any device, no mapping made from one and no
    // descriptor handed out from one is left in this process. A VMM announces
    // regions to its other backends in the same step as to us, and withdraws
    // them so, before it answers the unmapping. Where it can't withdraw them,
    // because there are more than a message holds, ours is not withdrawn
    // either, and there is no `Acknowledged`. That it does so, and that the
    // others obey, is the trust that whoever connects a VMM places in it.
    unsafe { LetGo::assert() }
}

/// The proof that a buffer which was to be mapped never left this process.
pub(crate) fn never_lent(_unsent: Unsent) -> LetGo {
    // SAFETY: an `Unsent` is made only where mapping failed before the message
    // with the descriptor was built: nobody else has a duplicate, and this
    // crate makes neither a duplicate nor a mapping of what it is to send.
    unsafe { LetGo::assert() }
}

/// A duplicate of a descriptor that vhost hands over as a bare number.
pub(crate) fn duplicate(fd: &dyn AsRawFd) -> io::Result<OwnedFd> {
    let raw = fd.as_raw_fd();
    if raw < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `raw` is not -1, and it is open for as long as `fd` is borrowed:
    // vhost passes the `File` that it received with the message, and keeps it
    // until the handler has returned; a vring passes its own, under its lock.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    borrowed.try_clone_to_owned()
}

/// How much of what was sent the other end of a socket has not read, in bytes of
/// the kernel's memory (`SIOCOUTQ`, unix(7)). 0 once it has read or dropped all.
pub(crate) fn unread(stream: &UnixStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and this
    // request writes one int through the pointer, which is to one of ours; for
    // sockets it has the number of TIOCOUTQ.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or_default())
}
