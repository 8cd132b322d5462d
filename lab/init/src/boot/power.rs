//! Ends the machine, or begins it anew.

use std::time::Duration;

use rustix::system::{RebootCommand, reboot};

/// How a machine is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Drivers are told (`reboot(2)`).
    Orderly,
    /// At once, as if somebody pressed the button
    /// (Documentation/admin-guide/sysrq.rst, 'b').
    Hard,
    /// By a panic (the same, 'c'); the lab's kernels restart after one.
    Panic,
}

/// Restarts the machine; its scenario must have said that it would.
///
/// # Errors
/// When the kernel does not.
pub fn restart(how: Restart) -> anyhow::Result<()> {
    match how {
        Restart::Orderly => reboot(RebootCommand::Restart)?,
        Restart::Hard => std::fs::write("/proc/sysrq-trigger", "b")?,
        Restart::Panic => std::fs::write("/proc/sysrq-trigger", "c")?,
    }
    std::thread::sleep(Duration::from_secs(10));
    anyhow::bail!("the machine goes on")
}

/// Switches the machine off, in whatever way it has.
///
/// A microvm has no ACPI to be switched off by: there the restart that follows
/// ends QEMU, which runs with `-no-reboot`.
pub(super) fn off() -> ! {
    rustix::fs::sync();
    let command = if std::path::Path::new("/sys/firmware/acpi/tables/FACP").exists() {
        RebootCommand::PowerOff
    } else {
        RebootCommand::Restart
    };
    let refused = reboot(command);
    eprintln!("lab: switching off: {refused:?}");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
