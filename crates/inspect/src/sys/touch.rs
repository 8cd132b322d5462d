//! What the sacrificial child does. Runs between clone and exit, in a copy of a
//! process that may have had threads: system calls only, no allocation, no locks.

use std::ffi::c_void;
use std::os::fd::RawFd;

use super::child::{Nature, Report, Stage, Wanted};

/// `DMA_BUF_MAGIC` of `include/uapi/linux/magic.h`.
const DMA_BUF_MAGIC: u64 = 0x444d_4142;
const DMA_BUF_IOCTL_SYNC: libc::Ioctl = 0x4008_6200;
const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 4;
/// A wait that signals keep interrupting is given up after so many tries.
const SYNC_TRIES: usize = 100;
/// Reading one byte of each page of more than 256 MiB would take too long.
const MAX_TOUCHED: usize = 65_536;
const PAGE: usize = 4096;
/// More descriptors than anyone may send; the rest are dropped by the kernel.
const CONTROL_BYTES: usize = 64;

/// Where the child gets its buffer from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// A descriptor of the parent.
    Descriptor(RawFd),
    /// The first message on this socket.
    Socket(RawFd),
}

/// The child's whole life; never returns.
pub(super) fn main(origin: Origin, wanted: Wanted, report: RawFd) -> ! {
    prepare(origin, report);
    let outcome = match origin {
        Origin::Descriptor(fd) => map(fd, wanted),
        Origin::Socket(socket) => receive(socket).and_then(|fd| map(fd, wanted)),
    };
    let report_bytes = outcome.unwrap_or_else(|failed| failed).encode();
    // SAFETY: the buffer is valid for its length; the descriptor is the child's own.
    unsafe { libc::write(report, report_bytes.as_ptr().cast(), report_bytes.len()) };
    wait_for_ever()
}

fn wait_for_ever() -> ! {
    loop {
        // SAFETY: no descriptors, so nothing is read or written; the parent kills.
        unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
    }
}

/// Dies with the parent, leaves no core, holds nothing of the parent's open.
fn prepare(origin: Origin, report: RawFd) {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: `none` is a valid rlimit for the call.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    for signal in [libc::SIGBUS, libc::SIGSEGV] {
        // SAFETY: the default action needs no handler to stay valid.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let (Origin::Descriptor(fd) | Origin::Socket(fd)) = origin;
    let (low, high) = (
        fd.min(report).cast_unsigned(),
        fd.max(report).cast_unsigned(),
    );
    close_between(0, low);
    close_between(low + 1, high);
    close_between(high + 1, u32::MAX);
    drop_capabilities();
}

/// Closes the descriptors from `first` up to, but not including, `end`.
fn close_between(first: u32, end: u32) {
    if first < end {
        // SAFETY: the child is single-threaded and uses none of these descriptors.
        unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
    }
}

/// The child needs none, whatever the parent has.
fn drop_capabilities() {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // _LINUX_CAPABILITY_VERSION_3 and its two times three words of bits.
    let header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let none = [0u32; 6];
    // SAFETY: both are of the layout that version 3 has, and only read.
    unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
}

fn failed(stage: Stage) -> Report {
    Report {
        stage,
        errno: errno(),
        address: 0,
        bytes: 0,
    }
}

fn errno() -> i32 {
    // SAFETY: takes nothing and can't fail.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: the location belongs to this thread, which is the only one.
    unsafe { *location }
}

/// Checks, maps and touches; the mapping stays until the child dies.
fn map(fd: RawFd, wanted: Wanted) -> Result<Report, Report> {
    let is_buffer = wanted.nature == Nature::DmaBuf;
    #[cfg(test)]
    if wanted.nature == Nature::Stuck {
        wait_for_ever();
    }
    if is_buffer && !is_dma_buf(fd) {
        return Err(failed(Stage::Check));
    }
    // SAFETY: takes integers only.
    let bytes = unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
    let Ok(bytes @ 1..) = usize::try_from(bytes.saturating_sub(wanted.offset)) else {
        return Err(failed(Stage::Size));
    };
    let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: a new mapping where the kernel likes; nothing refers to it yet.
    let address =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, prot, flags, fd, wanted.offset) };
    if address == libc::MAP_FAILED {
        return Err(failed(Stage::Map));
    }
    if is_buffer && !sync(fd, SYNC_READ) {
        return Err(failed(Stage::Begin));
    }
    touch(address, bytes);
    if is_buffer && !sync(fd, SYNC_READ | SYNC_END) {
        return Err(failed(Stage::End));
    }
    Ok(Report {
        stage: Stage::Ready,
        errno: 0,
        address: address as u64,
        bytes: bytes as u64,
    })
}

fn is_dma_buf(fd: RawFd) -> bool {
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `stat` is writable for a statfs; zeroed bytes are a valid one.
    if unsafe { libc::fstatfs(fd, stat.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: all integers, zeroed before the kernel filled it.
    let stat = unsafe { stat.assume_init() };
    stat.f_type as u64 == DMA_BUF_MAGIC
}

fn sync(fd: RawFd, flags: u64) -> bool {
    for _ in 0..SYNC_TRIES {
        // SAFETY: the ioctl reads eight bytes at `flags`.
        let status = unsafe { libc::ioctl(fd, DMA_BUF_IOCTL_SYNC, &raw const flags) };
        if status == 0 {
            return true;
        }
        if !matches!(errno(), libc::EINTR | libc::EAGAIN) {
            return false;
        }
    }
    false
}

/// Reads a byte of each page, so that exporters that map on fault have done so.
fn touch(address: *mut c_void, bytes: usize) {
    let pages = bytes.div_ceil(PAGE);
    let step = pages.div_ceil(MAX_TOUCHED);
    for page in (0..pages).step_by(step).chain([pages - 1]) {
        let at = address.cast::<u8>().wrapping_add(page * PAGE);
        // SAFETY: `page` is below the mapping's pages, so the byte lies inside it. The
        // read is volatile and its value unused: others may write there at any time.
        unsafe { at.read_volatile() };
    }
}

/// Takes one message with one descriptor from the socket.
fn receive(socket: RawFd) -> Result<RawFd, Report> {
    #[repr(C, align(8))]
    struct Control([u8; CONTROL_BYTES]);
    let mut control = Control([0; CONTROL_BYTES]);
    let mut text = [0u8; crate::broker::REQUEST.len() + 1];
    let mut part = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    // SAFETY: zeroed is a valid msghdr: null pointers and zero lengths.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the header's buffers are live, writable and of the stated lengths.
    let got = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if got < 0 {
        return Err(failed(Stage::Receive));
    }
    let malformed = Report {
        stage: Stage::Request,
        errno: 0,
        address: 0,
        bytes: 0,
    };
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    let got = got.unsigned_abs();
    if truncated || text.get(..got) != Some(crate::broker::REQUEST) {
        return Err(malformed);
    }
    let used = (message.msg_controllen as usize).min(CONTROL_BYTES);
    only_descriptor(&control.0[..used]).ok_or(malformed)
}

/// The descriptor of a control buffer that holds exactly one.
fn only_descriptor(control: &[u8]) -> Option<RawFd> {
    const WORD: usize = size_of::<usize>();
    let bytes = usize::from_ne_bytes(*control.first_chunk()?);
    let level = i32::from_ne_bytes(*control.get(WORD..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*control.get(WORD + 4..)?.first_chunk()?);
    let fd = i32::from_ne_bytes(*control.get(WORD + 8..)?.first_chunk()?);
    let one = bytes == WORD + 8 + 4 && control.len() <= bytes.next_multiple_of(WORD);
    let rights = level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS;
    (one && rights).then_some(fd)
}
