//! bpf(2): load a program, run it, open an iterator.
//!
//! `union bpf_attr` of `include/uapi/linux/bpf.h`, filled by offset. Bytes past
//! what a command uses stay zero, as the kernel demands.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::programs::{Kind, Program};

const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const LINK_CREATE: libc::c_long = 28;
const ITER_CREATE: libc::c_long = 33;

const TYPE_TRACING: u32 = 26;
const TYPE_SYSCALL: u32 = 31;
const ATTACH_TRACE_ITER: u32 = 28;
const FLAG_SLEEPABLE: u32 = 1 << 4;

/// Enough of the attribute for every command used here.
const ATTR_BYTES: usize = 128;
const LOG_BYTES: usize = 256 * 1024;
/// The verifier gives up with EAGAIN when a signal is pending.
const LOAD_TRIES: usize = 5;

/// Tracing programs may use what the kernel reserves for GPL-compatible ones.
const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

#[repr(C, align(8))]
struct Attr([u8; ATTR_BYTES]);

impl Attr {
    fn new() -> Self {
        Self([0; ATTR_BYTES])
    }

    fn u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }

    /// Borrows, so that the descriptor stays open while the attribute names it.
    fn fd(&mut self, at: usize, fd: BorrowedFd<'_>) {
        // Descriptors are not negative.
        self.u32(at, fd.as_raw_fd().cast_unsigned());
    }

    fn pointer<T: ?Sized>(&mut self, at: usize, to: *const T) {
        self.u64(at, to.cast::<u8>() as u64);
    }

    fn pointer_mut<T: ?Sized>(&mut self, at: usize, to: *mut T) {
        self.u64(at, to.cast::<u8>() as u64);
    }
}

/// Why the kernel did not take a program.
#[derive(Debug)]
pub(crate) struct LoadFailure {
    pub(crate) errno: Errno,
    /// What the verifier said, if it got that far.
    pub(crate) log: String,
}

/// Loads `program`; on refusal asks again for the verifier's words.
pub(crate) fn load(program: &Program) -> Result<OwnedFd, LoadFailure> {
    let errno = match load_once(program, None) {
        Ok(fd) => return Ok(fd),
        Err(errno @ (Errno::PERM | Errno::NOSYS)) => {
            let log = String::new();
            return Err(LoadFailure { errno, log });
        }
        Err(errno) => errno,
    };
    let mut log = vec![0; LOG_BYTES];
    match load_once(program, Some(&mut log)) {
        Ok(fd) => Ok(fd),
        Err(_) => {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(0);
            let log = String::from_utf8_lossy(&log[..end]).into_owned();
            Err(LoadFailure { errno, log })
        }
    }
}

fn load_once(program: &Program, log: Option<&mut [u8]>) -> Result<OwnedFd, Errno> {
    let mut attr = Attr::new();
    let instructions = u32::try_from(program.code.len() / 8).map_err(|_| Errno::TOOBIG)?;
    attr.u32(4, instructions);
    attr.pointer(8, program.code.as_ptr());
    attr.pointer(16, LICENSE.as_ptr());
    if let Some(log) = log {
        attr.u32(24, 1);
        attr.u32(28, log.len() as u32);
        attr.pointer_mut(32, log.as_mut_ptr());
    }
    let name = program.name.as_bytes();
    let name = &name[..name.len().min(15)];
    attr.0[48..48 + name.len()].copy_from_slice(name);
    match program.kind {
        Kind::Syscall => {
            attr.u32(0, TYPE_SYSCALL);
            attr.u32(44, FLAG_SLEEPABLE);
        }
        Kind::Iterator(function) => {
            attr.u32(0, TYPE_TRACING);
            attr.u32(68, ATTACH_TRACE_ITER);
            attr.u32(108, function);
        }
    }
    let mut tries = LOAD_TRIES;
    loop {
        // SAFETY: `code`, the licence and the log outlive the call; their lengths are
        // stated in the attribute, the licence ends with a zero. The kernel writes to
        // the log buffer only, which is borrowed mutably here.
        match unsafe { bpf_fd(PROG_LOAD, &mut attr) } {
            Err(Errno::AGAIN) if tries > 0 => tries -= 1,
            other => return other,
        }
    }
}

/// Runs a SYSCALL program once; the context is question and answer.
pub(crate) fn run(program: BorrowedFd<'_>, context: &mut [u8]) -> Result<(), Errno> {
    let mut attr = Attr::new();
    attr.fd(0, program);
    let bytes = u32::try_from(context.len()).map_err(|_| Errno::TOOBIG)?;
    attr.u32(40, bytes);
    attr.pointer_mut(48, context.as_mut_ptr());
    // SAFETY: the kernel reads and writes `ctx_size_in` bytes at `ctx_in`, which are
    // those of `context`, borrowed mutably for the call. No other pointer is set.
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }?;
    let status = u32::from_ne_bytes([attr.0[4], attr.0[5], attr.0[6], attr.0[7]]);
    // The kernel writes the program's return value; ours always return 0.
    if status == 0 { Ok(()) } else { Err(Errno::IO) }
}

/// Opens an iterator over all objects, or over those of one process.
pub(crate) fn iterate(program: BorrowedFd<'_>, pid: Option<u32>) -> Result<OwnedFd, Errno> {
    // union bpf_iter_link_info: tid, pid, pid_fd.
    let info = [0, pid.unwrap_or(0), 0];
    let mut attr = Attr::new();
    attr.fd(0, program);
    attr.u32(8, ATTACH_TRACE_ITER);
    if pid.is_some() {
        attr.pointer(16, info.as_ptr());
        attr.u32(24, size_of_val(&info) as u32);
    }
    // SAFETY: `iter_info`, if set, points to `info`, which outlives the call and has
    // the stated length; the kernel only reads it.
    let link = unsafe { bpf_fd(LINK_CREATE, &mut attr) }?;
    let mut attr = Attr::new();
    attr.fd(0, link.as_fd());
    // SAFETY: the command takes no pointers.
    unsafe { bpf_fd(ITER_CREATE, &mut attr) }
}

/// # Safety
/// Every pointer in `attr` must be valid for what `command` does with it.
unsafe fn bpf_fd(command: libc::c_long, attr: &mut Attr) -> Result<OwnedFd, Errno> {
    // SAFETY: as the caller promises.
    let fd = unsafe { bpf(command, attr) }?;
    let fd = libc::c_int::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the commands that come here return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// Every pointer in `attr` must be valid for what `command` does with it.
unsafe fn bpf(command: libc::c_long, attr: &mut Attr) -> Result<libc::c_long, Errno> {
    // SAFETY: `attr` is readable and, for results, writable for ATTR_BYTES; the rest is the caller's promise.
    let value = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(&mut attr.0),
            ATTR_BYTES,
        )
    };
    if value < 0 {
        return Err(last_errno());
    }
    Ok(value)
}

fn last_errno() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
