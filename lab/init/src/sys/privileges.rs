//! Programs with other privileges than ours.
#![expect(
    unsafe_code,
    reason = "privileges must be given up between fork and exec"
)]

use std::os::fd::AsRawFd;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::{Gid, Uid};
use rustix::io::{FdFlags, Result, fcntl_setfd};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// The ordinary user of the lab.
pub const USER: u32 = 1000;

/// Whose privileges a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Root.
    Root,
    /// An ordinary user with CAP_BPF and CAP_PERFMON, as a service manager
    /// gives them.
    Bpf,
    /// An ordinary user.
    User,
}

/// Has `command` run as `who`, with `descriptors` left open in it under their
/// numbers.
pub fn run_as(command: &mut Command, who: Who, descriptors: &[BorrowedFd<'_>]) {
    let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let prepare = move || {
        for &descriptor in &descriptors {
            // SAFETY: the child has the same descriptors as its parent, which
            // keeps these open until the program is started.
            let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        become_who(who)?;
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec. It makes system calls on
    // the child's own descriptors and credentials, takes no lock and does not
    // allocate.
    unsafe { command.pre_exec(prepare) };
}

fn become_who(who: Who) -> Result<()> {
    let kept = match who {
        Who::Root => return Ok(()),
        Who::Bpf => CapabilitySet::BPF | CapabilitySet::PERFMON,
        Who::User => CapabilitySet::empty(),
    };
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: kept,
    };
    set_capabilities(None, sets)?;
    for capability in kept.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}
