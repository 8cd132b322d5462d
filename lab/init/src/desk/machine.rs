//! The machines that use `landbridge serve`: the program's arguments, and what
//! `landbridge serve --print-qemu-args` prints for them. A scenario checks that
//! it prints just that.

use super::ARGUMENT;
use crate::scenario::{Beside, Device};

/// The module of the guest's driver.
pub const MODULE: &str = "virtio-gpu";

/// The desk itself.
pub const DESK: Beside = Beside {
    program: env!("CARGO_PKG_NAME"),
    args: &[ARGUMENT, "{run}"],
    ready: "{run}/desk",
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

/// The programs for one GPU.
pub const ONE: &[Beside] = &[serving(SERVE_ONE), DESK];

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
