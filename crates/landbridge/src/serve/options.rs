//! The command line of `landbridge serve`.

use std::path::PathBuf;

use clap::Args;

use super::settings::{
    CachingFrom, CachingName, GpuMode, HostMemory, MetricsAddress, OutputSize, Size,
};
use crate::qemu::Machine;

/// The command line of `landbridge serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge serve --gpu gpu.sock --control control.sock &
  eval \"qemu-system-x86_64 $(landbridge serve --gpu gpu.sock --print-qemu-args) ...\"
  landbridge screenshot screen.png --control control.sock

The configuration file has the same keys (gpu, control, metrics, outputs,
gpu-mode, window, host-memory, host-node, caching-from, unknown-caching), a table [limits] and, for each GPU that differs,
a table [[gpu]]; docs/serve.md shows one. Unknown keys are errors.

Exit status: 0 after SIGTERM or SIGINT; 1 when serving fails; 2 when the command
line or the file asks for what can't be.")]
pub struct Options {
    /// Serve a virtio-gpu to a VMM on this socket; several are several GPUs.
    #[arg(long, value_name = "SOCK")]
    pub gpu: Vec<PathBuf>,

    /// Answer `status`, `events`, `screenshot`, `share`, `revoke` and the like on
    /// this socket.
    #[arg(long, value_name = "SOCK")]
    pub control: Option<PathBuf>,

    /// The window in which guests map host memory: a power of two [default: 256MiB].
    #[arg(long, value_name = "SIZE")]
    pub window: Option<Size>,

    /// The displays that guests see [default: 1920x1080].
    #[arg(long, value_name = "WIDTHxHEIGHT", value_delimiter = ',')]
    pub outputs: Option<Vec<OutputSize>>,

    /// What guests can do with host memory [default: host-visible].
    #[arg(long, value_enum, value_name = "MODE")]
    pub gpu_mode: Option<GpuMode>,

    /// What host memory is made of [default: memfd].
    #[arg(long, value_enum, value_name = "KIND")]
    pub host_memory: Option<HostMemory>,

    /// The NUMA node that host memory comes from [default: any]. Not for the
    /// system heap, which can't be told.
    #[arg(long, value_name = "NUMBER")]
    pub host_node: Option<u32>,

    /// Who is asked how buffers are cached: "kernel" (needs CAP_BPF and
    /// CAP_PERFMON), "broker:SOCK" (a `landbridge mapinfo --broker`), or "rules",
    /// which are also what is left without the privilege [default: kernel].
    #[arg(long, value_name = "WHO")]
    pub caching_from: Option<CachingFrom>,

    /// Take buffers for this whose caching nobody knows; otherwise they are
    /// refused, since a guest must map them just as the host does.
    #[arg(long, value_enum, value_name = "CACHING")]
    pub unknown_caching: Option<CachingName>,

    /// Serve metrics for Prometheus over HTTP on this port of the loopback
    /// interface, or on this address and port.
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<MetricsAddress>,

    /// Read the configuration from this TOML file; the command line wins.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print the QEMU arguments that connect a VM to these GPUs, quoted for a
    /// shell, and exit.
    #[arg(long)]
    pub print_qemu_args: bool,

    /// The QEMU to print arguments for [default: the one in PATH].
    #[arg(long, value_name = "PROGRAM", requires = "print_qemu_args")]
    pub qemu: Option<PathBuf>,

    /// The VM's memory.
    #[arg(
        long,
        value_name = "SIZE",
        requires = "print_qemu_args",
        default_value = "4GiB"
    )]
    pub qemu_memory: Size,

    /// The VM's machine type.
    #[arg(long, value_enum, requires = "print_qemu_args", default_value = "q35")]
    pub qemu_machine: Machine,

    /// Log more, to standard error; twice for debugging. LANDBRIDGE_LOG sets
    /// levels by part, as in landbridge_device_gpu=trace.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
