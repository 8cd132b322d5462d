//! Where firmware puts a window.
//!
//! Below 4 GiB lies memory that the firmware's MTRRs make uncached, and they
//! win in silence over what the guest's page tables say: a window there is
//! slow, whatever its `map_info`. So a window must lie above. Firmware of PCs
//! puts it there when the VM has memory above 4 GiB or when it fits nowhere
//! else; microvm has no firmware that minds.

use anyhow::bail;
use landbridge_device_gpu::Mode;

use super::Machine;
use super::arguments::Vm;
use crate::serve::settings::Size;

/// The memory from which on a PC's firmware goes above 4 GiB by itself.
const ENOUGH_MEMORY: Size = Size(4 << 30);

/// The window that fits nowhere below.
const LARGE_WINDOW: Size = Size(2 << 30);

/// Refuses a VM in which this GPU's window would be uncached.
pub(super) fn check(vm: Vm, mode: Mode) -> anyhow::Result<()> {
    let Mode::HostVisible { window } = mode else {
        return Ok(());
    };
    let window = Size(window);
    let pc = vm.machine != Machine::Microvm;
    if pc && vm.memory < ENOUGH_MEMORY && window < LARGE_WINDOW {
        bail!(
            "a window of {window} in a VM with {} of memory may lie below 4 GiB, where it is \
             uncached whatever the guest asks for: give the VM {ENOUGH_MEMORY} \
             (--qemu-memory), or the window {LARGE_WINDOW} (--window), or use the machine \
             microvm (--qemu-machine)",
            vm.memory
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(machine: Machine, memory: u64, window: u64) -> bool {
        let vm = Vm {
            machine,
            memory: Size(memory),
        };
        check(vm, Mode::HostVisible { window }).is_err()
    }

    #[test]
    fn a_window_that_would_be_uncached_is_refused() {
        for machine in [Machine::Q35, Machine::Pc] {
            assert!(refused(machine, 1 << 30, 256 << 20));
            assert!(refused(machine, 2 << 30, 1 << 30));
            assert!(!refused(machine, 4 << 30, 256 << 20));
            assert!(!refused(machine, 1 << 30, 2 << 30));
        }
        assert!(!refused(Machine::Microvm, 256 << 20, 256 << 20));
    }

    #[test]
    fn without_a_window_nothing_is_refused() {
        let vm = Vm {
            machine: Machine::Pc,
            memory: Size(1 << 28),
        };
        assert!(check(vm, Mode::GuestImport).is_ok());
    }
}
