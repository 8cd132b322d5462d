//! Gives up everything that the broker does not need.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::error::{Error, Result};

/// What [`confine`] left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The capabilities that remain, as bits.
    pub capabilities: u64,
}

const KEPT: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

/// Drops all capabilities but CAP_BPF and CAP_PERFMON, for good, and every system call
/// that the broker's loop does not use. Applies to the calling thread: call it before
/// there are others, and after the [`Broker`](super::Broker) was made, since programs
/// can't be loaded any more.
///
/// # Errors
/// [`Error::System`] if the kernel refuses; the process should then end.
pub fn confine() -> Result<Confinement> {
    set_no_new_privs(true).map_err(Error::system("no_new_privs"))?;
    let kept = drop_capabilities()?;
    let program = filter().map_err(|_| Error::System {
        call: "building the seccomp filter",
        errno: Errno::INVAL,
    })?;
    seccompiler::apply_filter(&program).map_err(|_| Error::System {
        call: "installing the seccomp filter",
        errno: Errno::PERM,
    })?;
    Ok(Confinement {
        capabilities: kept.bits(),
    })
}

fn drop_capabilities() -> Result<CapabilitySet> {
    clear_ambient_capability_set().map_err(Error::system("clearing ambient capabilities"))?;
    let now = capabilities(None).map_err(Error::system("capget"))?;
    // Without CAP_SETPCAP the bounding set stays, but no_new_privs makes it moot.
    if now.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter() {
            match remove_capability_from_bounding_set(capability) {
                // Newer than the kernel.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(Error::system("dropping a bounding capability")(errno)),
            }
        }
    }
    let kept = now.permitted & KEPT;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(Error::system("capset"))?;
    Ok(kept)
}

/// `BPF_PROG_TEST_RUN`, `BPF_LINK_CREATE` and `BPF_ITER_CREATE`: run what is loaded.
const BPF_COMMANDS: [u64; 3] = [10, 28, 33];
const DMA_BUF_IOCTL_SYNC: u64 = 0x4008_6200;
const FIONBIO: u64 = 0x5421;

type Failure = seccompiler::BackendError;

fn filter() -> Result<BpfProgram, Failure> {
    let mut rules: Vec<(i64, Vec<SeccompRule>)> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    rules.push((libc::SYS_bpf, any_of(0, &BPF_COMMANDS)?));
    rules.push((libc::SYS_ioctl, any_of(1, &[DMA_BUF_IOCTL_SYNC, FIONBIO])?));
    // A child with a process of its own, no namespaces, no shared memory.
    rules.push((libc::SYS_clone, any_of(0, &[libc::CLONE_PIDFD as u64])?));
    let death_signal = libc::PR_SET_PDEATHSIG as u64;
    rules.push((libc::SYS_prctl, any_of(0, &[death_signal])?));
    let filter = SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

fn any_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, Failure> {
    values
        .iter()
        .map(|&value| {
            let length = SeccompCmpArgLen::Dword;
            let condition = SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value)?;
            SeccompRule::new(vec![condition])
        })
        .collect()
}

/// The loop, its children, and the allocator and clock beneath them.
const ALLOWED: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_capset,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstatfs,
    libc::SYS_futex,
    libc::SYS_getsockopt,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pipe2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendto,
    libc::SYS_sigaltstack,
    libc::SYS_waitid,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_setrlimit,
];
