//! The machines that use `landbridge serve`: the program's arguments, and what
//! `landbridge serve --print-qemu-args` prints for them. A scenario checks that
//! it prints just that.

use super::{ALONE, ARGUMENT};
use crate::checks::KnownWarning;
use crate::scenario::{Beside, Device, Needs};
use crate::virtgpu::TAKEDOWN;

/// The module of the guest's driver.
pub const MODULE: &str = "virtio-gpu";

/// The desk itself.
pub const DESK: Beside = Beside {
    program: env!("CARGO_PKG_NAME"),
    args: &[ARGUMENT, "{run}"],
    ready: "{run}/desk",
};

/// The desk of a machine that no daemon serves.
pub const DESK_ALONE: Beside = Beside {
    args: &[ARGUMENT, "{run}", ALONE],
    ..DESK
};

/// What connects a machine to the desk.
pub const PORT: Device = Device::new(
    "desk",
    &[
        "-chardev",
        "socket,id=desk,path={run}/desk",
        "-device",
        "virtserialport,chardev=desk,name=landbridge.lab.desk",
    ],
);

/// How one GPU is served. The output is small, because its pictures are
/// compared pixel by pixel.
pub const SERVE_ONE: &[&str] = &[
    "serve",
    "--gpu",
    "{run}/gpu0",
    "--control",
    "{run}/control",
    "--outputs",
    "640x480",
];

/// The same with an output as small as can be, for many pictures.
pub const SERVE_SMALL: &[&str] = &[
    "serve",
    "--gpu",
    "{run}/gpu0",
    "--control",
    "{run}/control",
    "--outputs",
    "160x120",
];

/// How a GPU is served that allows a few more than 300 maps.
pub const SERVE_FEW_MAPS: &[&str] = &[
    "serve",
    "--gpu",
    "{run}/gpu0",
    "--control",
    "{run}/control",
    "--config",
    concat!(env!("CARGO_MANIFEST_DIR"), "/few-maps.toml"),
];

/// How two GPUs are served for `landbridge_hostile::layout`.
pub const SERVE_HOSTILE: &[&str] = &[
    "serve",
    "--gpu",
    "{run}/gpu0",
    "--gpu",
    "{run}/gpu1",
    "--control",
    "{run}/control",
    "--outputs",
    "640x480,1920x1080",
    "--config",
    concat!(env!("CARGO_MANIFEST_DIR"), "/hostile.toml"),
];

/// How two GPUs of two outputs each are served.
pub const SERVE_TWO: &[&str] = &[
    "serve",
    "--gpu",
    "{run}/gpu0",
    "--gpu",
    "{run}/gpu1",
    "--control",
    "{run}/control",
    "--outputs",
    "640x480,800x600",
];

/// How a GPU is served that imports. Its output is as small as the pictures of
/// the emulated camera.
pub const SERVE_IMPORTING: &[&str] = &[
    "serve",
    "--gpu",
    "{run}/gpu0",
    "--control",
    "{run}/control",
    "--gpu-mode",
    "guest-import",
    "--outputs",
    "160x120",
];

/// How a GPU is served whose host memory is dma-bufs.
pub const SERVE_UDMABUF: &[&str] = &[
    "serve",
    "--gpu",
    "{run}/gpu0",
    "--control",
    "{run}/control",
    "--host-memory",
    "udmabuf",
    "--outputs",
    "160x120",
];

/// QEMU's monitor, for `landbridge recover` and for page tables.
pub const QMP: Device = Device::new("qmp", &["-qmp", "unix:{run}/qmp,server=on,wait=off"]);

/// What brings [`GPU`] back in a machine with [`QMP`].
pub const RECOVER: &[&str] = &[
    "recover",
    "--qmp",
    "{run}/qmp",
    "--gpu",
    "{run}/gpu0",
    "--device",
    "landbridge-gpu0",
    "--chardev",
    "landbridge-char0",
];

/// What the stock driver never gives back when its device goes before it has
/// answered: commands, and the window's part of a blob that a program still
/// maps.
pub const LEAKS: &[KnownWarning] = &[leak("__slab_err"), leak("kmem_cache_destroy"), TAKEDOWN];

const fn leak(function: &'static str) -> KnownWarning {
    KnownWarning {
        function,
        reason: "the stock driver leaks what is not answered when its device goes",
    }
}

/// The programs for one GPU.
pub const ONE: &[Beside] = &[serving(SERVE_ONE), DESK];

/// What a scenario with one GPU needs. Others begin with it.
pub const ONE_GPU: Needs = Needs {
    modules: &[MODULE],
    devices: &[PORT, GPU],
    beside: ONE,
    qemu: (11, 1),
    ..Needs::NOTHING
};

/// A program that serves with `args`; the desk, which comes after it, waits
/// until it does.
pub const fn serving(args: &'static [&'static str]) -> Beside {
    Beside {
        program: "landbridge",
        args,
        ready: "{run}/gpu0",
    }
}

/// One GPU, in the machine that keeps a window of the usual size cached.
pub const GPU: Device = Device::new(
    "landbridge-gpu",
    &[
        "-machine",
        "q35,memory-backend=landbridge-ram",
        "-m",
        "4096M",
        "-object",
        "memory-backend-memfd,id=landbridge-ram,size=4096M,share=on",
        "-vga",
        "none",
        "-chardev",
        "socket,id=landbridge-char0,path={run}/gpu0",
        "-device",
        "pcie-root-port,id=landbridge-port0,chassis=200",
        "-device",
        "vhost-user-test-device-pci,id=landbridge-gpu0,chardev=landbridge-char0,\
         virtio-id=16,num_vqs=2,vq_size=256,config_size=24,bus=landbridge-port0",
    ],
);

/// One GPU, in a machine whose memory above 4 GiB is the 32 MiB of
/// `landbridge_hostile::layout`, which its kernel leaves alone.
pub const HOSTILE_GPU: Device = Device {
    kernel_args: &["memmap=32M$4G"],
    ..Device::new(
        "landbridge-hostile-gpu",
        &[
            "-machine",
            "q35,memory-backend=landbridge-ram,max-ram-below-4g=1G",
            "-m",
            "1056M",
            "-object",
            "memory-backend-memfd,id=landbridge-ram,size=1056M,share=on",
            "-vga",
            "none",
            "-chardev",
            "socket,id=landbridge-char0,path={run}/gpu0",
            "-device",
            "pcie-root-port,id=landbridge-port0,chassis=200",
            "-device",
            "vhost-user-test-device-pci,id=landbridge-gpu0,chardev=landbridge-char0,\
             virtio-id=16,num_vqs=2,vq_size=256,config_size=24,bus=landbridge-port0",
        ],
    )
};

/// A second GPU beside [`GPU`].
pub const SECOND_GPU: Device = Device::new(
    "landbridge-gpu-2",
    &[
        "-chardev",
        "socket,id=landbridge-char1,path={run}/gpu1",
        "-device",
        "pcie-root-port,id=landbridge-port1,chassis=201",
        "-device",
        "vhost-user-test-device-pci,id=landbridge-gpu1,chardev=landbridge-char1,\
         virtio-id=16,num_vqs=2,vq_size=256,config_size=24,bus=landbridge-port1",
    ],
);

/// One GPU in the small machine under KVM, whose memory is the machine's own.
pub const INNER_GPU: Device = Device::new(
    "landbridge-inner-gpu",
    &[
        "-chardev",
        "socket,id=landbridge-char0,path={run}/gpu0",
        "-device",
        "vhost-user-test-device-pci,id=landbridge-gpu0,chardev=landbridge-char0,\
         virtio-id=16,num_vqs=2,vq_size=256,config_size=24",
    ],
);
