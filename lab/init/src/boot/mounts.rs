//! The file systems that scenarios expect to find.

use std::ffi::CString;
use std::fs::create_dir_all;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

const KERNEL_FILESYSTEMS: [(&str, &str); 5] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
];

/// Mounts proc, sysfs, devtmpfs and two tmpfs, and debugfs where there is one.
///
/// # Errors
/// When one of the first five can't be mounted.
pub(super) fn mount_kernel_filesystems() -> Result<()> {
    for (kind, at) in KERNEL_FILESYSTEMS {
        mount_kind(kind, kind, at, "")?;
    }
    // Only some scenarios read it, and those say so themselves.
    let _ = mount_kind("debugfs", "debugfs", "/sys/kernel/debug", "");
    Ok(())
}

/// Mounts the folder of the host that QEMU shares as `tag`, at `at`, read-only.
///
/// # Errors
/// When the 9p modules are missing or QEMU shares no such tag.
pub fn mount_share(tag: &str, at: &str) -> Result<()> {
    mount_kind(
        "9p",
        tag,
        at,
        "trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro",
    )
}

fn mount_kind(kind: &str, source: &str, at: &str, options: &str) -> Result<()> {
    if !Path::new(at).is_dir() {
        create_dir_all(at).with_context(|| format!("creating {at}"))?;
    }
    let options = CString::new(options)?;
    match mount(source, at, kind, MountFlags::empty(), options.as_c_str()) {
        // devtmpfs is there already where the kernel mounts it itself.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("mounting {kind} at {at}")),
    }
}
