//! What a scenario declares: the claim that it proves, what it needs, and how
//! long it may take.
//!
//! A scenario is one file in [`crate::scenarios`]: the declaration, which the
//! host side reads to build a machine, and the body, which runs in it.

use std::time::Duration;

use crate::checks::Checks;

/// One claim and its proof.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The claim as an identifier: `a_hole_punched_under_a_udmabuf_splits_it`.
    pub name: &'static str,
    /// The claim in a sentence.
    pub claim: &'static str,
    /// Which kernel the body runs on.
    pub storey: Storey,
    /// What the machine must have.
    pub needs: Needs,
    /// How long the body may take, from its start to its verdict.
    pub limit: Duration,
    /// How it is to end.
    pub expect: Expect,
    /// What it does.
    pub body: Body,
}

/// The proof: records checks, and returns an error when it can't go on. A
/// [`crate::checks::Skip`] error means that the claim can't be tried here.
pub type Body = fn(&mut Checks) -> anyhow::Result<()>;

/// The kernel that a body runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storey {
    /// The emulated machine: real exporters, real KVM.
    Host,
    /// A stock guest directly on this machine's QEMU.
    Guest,
    /// A stock guest under KVM inside the emulated machine.
    Nested,
}

impl Storey {
    /// The word that people and `--json` see.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Guest => "guest",
            Self::Nested => "nested",
        }
    }
}

/// The kernels that machines boot, by series: all of them Debian's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// The one that everything is about.
    Linux7_2,
    /// Debian 13's own.
    Linux6_12,
    /// Debian 12's own.
    Linux6_1,
}

impl Kernel {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Linux7_2, Self::Linux6_12, Self::Linux6_1];

    /// The word that people and `--json` see.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Linux7_2 => "7.2",
            Self::Linux6_12 => "6.12",
            Self::Linux6_1 => "6.1",
        }
    }
}

/// What a scenario's machine must have. [`Needs::NOTHING`] is the start.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// The kernels that the body runs on, each in a machine of its own.
    pub kernels: &'static [Kernel],
    /// Modules to load before the body, with their parameters:
    /// `"vivid n_devs=2"`.
    pub modules: &'static [&'static str],
    /// Devices of the body's machine (for [`Storey::Nested`], the inner one).
    pub devices: &'static [Device],
    /// Programs that run beside the body's machine: on this machine, or in the
    /// emulated one for [`Storey::Nested`].
    pub beside: &'static [Beside],
    /// For [`Storey::Nested`]: what the emulated machine around the guest has.
    pub host: Host,
    /// Packages whose static binaries lie in the body's machine, in /bin.
    pub inside: &'static [&'static str],
    /// Huge pages of 2 MiB.
    pub huge_pages: u32,
    /// /dev/kvm in a machine of the host storey.
    pub kvm: bool,
    /// Whose privileges the body has.
    pub privileges: Privileges,
    /// The oldest QEMU that will do, as (major, minor).
    pub qemu: (u32, u32),
    /// Never share a machine with other scenarios.
    pub alone: bool,
    /// It takes long: it runs only when it is named in full.
    pub long: bool,
    /// The body restarts its machine, and is begun again after that. What it must
    /// know then, the desk keeps in mind. Asks for being alone.
    pub restarts: bool,
}

impl Needs {
    /// A bare machine that may be shared, as root.
    pub const NOTHING: Self = Self {
        kernels: &[Kernel::Linux7_2],
        modules: &[],
        devices: &[],
        beside: &[],
        host: Host {
            modules: &[],
            devices: &[],
        },
        inside: &[],
        huge_pages: 0,
        kvm: false,
        privileges: Privileges::Root,
        qemu: (0, 0),
        alone: false,
        long: false,
        restarts: false,
    };
}

/// What the emulated machine around a nested guest has beyond KVM.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Modules to load before the programs beside the guest are started.
    pub modules: &'static [&'static str],
    /// Devices.
    pub devices: &'static [Device],
}

/// Whose privileges a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// Root.
    Root,
    /// User and group 1000, no capabilities; device nodes stay as the kernel
    /// made them.
    User,
}

/// A device of the machine: what QEMU is told.
///
/// `{run}` in an argument stands for the folder of this run, where the
/// programs beside the machine put their sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Names it once per machine.
    pub id: &'static str,
    /// QEMU's arguments.
    pub args: &'static [&'static str],
    /// Words added to the kernel's command line, before the lab's own: the last
    /// console named there is where programs write.
    pub kernel_args: &'static [&'static str],
}

impl Device {
    /// A virtio-gpu with 2D resources only: blobs would need a udmabuf device on
    /// the machine that runs QEMU.
    pub const VIRTIO_GPU: Self = Self::new("virtio-gpu", &["-device", "virtio-gpu-pci"]);
    /// A virtio-gpu with blobs, for a guest inside the emulated machine, whose
    /// QEMU has a udmabuf device.
    pub const VIRTIO_GPU_BLOB: Self =
        Self::new("virtio-gpu", &["-device", "virtio-gpu-pci,blob=true"]);
    /// Bochs' display, as a secondary adapter.
    pub const BOCHS: Self = Self::new("bochs", &["-device", "bochs-display"]);
    /// A QXL adapter: TTM with memory in RAM and in a BAR.
    pub const QXL: Self = Self::new("qxl", &["-device", "qxl"]);
    /// An IOMMU, with which VFIO works.
    pub const IOMMU: Self = Self {
        kernel_args: &["intel_iommu=on", "iommu=pt"],
        ..Self::new("iommu", &["-device", "intel-iommu,intremap=off"])
    };
    /// The machine's memory and processors on two NUMA nodes, half on each.
    pub const TWO_NODES: Self = Self::new(
        "two-nodes",
        &["-numa", "node,memdev=mem", "-numa", "node,memdev=mem1"],
    );
    /// The kernel's messages on the screen, besides where they go anyway.
    pub const CONSOLE: Self = Self {
        kernel_args: &["console=tty0"],
        ..Self::new("console", &[])
    };
    /// A PCI device whose BAR 2 is 4 MiB of RAM.
    pub const RAM_BAR: Self = Self::new(
        "ram-bar",
        &[
            "-object",
            "memory-backend-memfd,id=bar,size=4M,share=on",
            "-device",
            "ivshmem-plain,memdev=bar",
        ],
    );

    /// A PCI device whose BAR 4 is 1 MiB of RAM, and which can reset its function.
    pub const NVME_PMR: Self = Self::new(
        "nvme-pmr",
        &[
            "-object",
            "memory-backend-memfd,id=pmr,size=1M,share=on",
            "-device",
            "nvme,serial=lab,pmrdev=pmr",
        ],
    );
    /// A PCI device that copies by DMA what it is told to (QEMU's edu).
    pub const EDU: Self = Self::new("edu", &["-device", "edu"]);

    /// A device that asks nothing of the kernel's command line.
    #[must_use]
    pub const fn new(id: &'static str, args: &'static [&'static str]) -> Self {
        Self {
            id,
            args,
            kernel_args: &[],
        }
    }
}

/// A program that runs beside a machine for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// The package whose static binary it is.
    pub program: &'static str,
    /// Its arguments; `{run}` stands for the folder of this run.
    pub args: &'static [&'static str],
    /// The machine starts when this path exists; `{run}` as above.
    pub ready: &'static str,
}

/// How a scenario is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// With a verdict of its own, every check right.
    Passes,
    /// With a failure of this kind, found by the host: the lab tests itself.
    Fails(Failure),
}

/// The ways to fail that only the host can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The kernel died.
    Panic,
    /// The time limit passed.
    Hang,
    /// QEMU was gone before the verdict.
    Gone,
    /// The body's process died or ended without a verdict.
    Crash,
}

impl Failure {
    /// The word that people and `--json` see.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Panic => "kernel panic",
            Self::Hang => "hang",
            Self::Gone => "machine gone",
            Self::Crash => "crash",
        }
    }
}
