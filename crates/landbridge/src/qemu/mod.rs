//! The QEMU arguments that connect a VM to our devices, for the QEMU of this
//! machine. Combinations that are known to fail are refused with the reason.

mod arguments;
mod program;
mod window;

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use crate::failure::Failure;
use crate::serve::Options;
use crate::serve::settings::Settings;
use crate::terminal;

pub use arguments::shell_quoted;
pub use program::{Program, Version};

/// A machine type of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// A PC of 2009, PCI Express.
    Q35,
    /// A PC of 1996.
    Pc,
    /// Little but virtio; our devices need its PCI Express bus.
    Microvm,
}

/// Prints the arguments.
pub fn print(options: &Options, settings: &Settings) -> Result<(), Failure> {
    let arguments = of(options, settings).map_err(Failure::Usage)?;
    let program = Program::find(options.qemu.as_deref())?;
    program.check()?;
    terminal::print(&format!("{}\n", shell_quoted(&arguments)))?;
    Ok(())
}

fn of(options: &Options, settings: &Settings) -> anyhow::Result<Vec<String>> {
    if settings.gpus.is_empty() {
        return Err(anyhow!(
            "there is nothing to connect: name a socket with --gpu"
        ));
    }
    let vm = arguments::Vm {
        machine: options.qemu_machine,
        memory: options.qemu_memory,
    };
    vm.check()?;
    let mut sockets = Vec::new();
    for (number, gpu) in settings.gpus.iter().enumerate() {
        window::check(vm, gpu.mode).with_context(|| format!("GPU {number}"))?;
        let socket = gpu.socket.as_deref().context("a GPU has no socket")?;
        sockets.push(std::path::absolute(socket)?);
    }
    vm.arguments(&sockets)
}
