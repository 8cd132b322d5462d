//! Ends the machine.

use std::time::Duration;

use rustix::system::{RebootCommand, reboot};

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
