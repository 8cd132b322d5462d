//! A guest to try a GPU with: a stock kernel, its driver, busybox, and nothing
//! of ours. A shell sits at the serial port and another on the screen.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use crate::artifacts::Artifacts;
use crate::initramfs::Initramfs;
use crate::modules::{Module, Modules};

/// The kernel's driver of the GPU.
const MODULE: &str = "virtio-gpu";

/// Where a guest's two files are.
#[derive(Debug)]
pub struct Guest {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
}

/// Writes `vmlinuz` and `initrd` to the folder `to`, made if need be.
/// `modules` is where decompressed modules are kept.
///
/// # Errors
/// When there is no busybox, or something can't be read or written.
pub fn write(artifacts: &Artifacts, modules: PathBuf, to: &Path) -> Result<Guest> {
    let busybox = artifacts.busybox.as_deref().ok_or_else(|| {
        anyhow!("a guest with a shell needs busybox, which comes with the packaged QEMU only")
    })?;
    let modules = Modules::index(&artifacts.kernel.modules, modules)?.closure([MODULE])?;
    let mut initramfs = Initramfs::with_init(script(&modules).as_bytes());
    initramfs.file("bin/busybox", busybox)?;
    initramfs.modules(&modules)?;
    for folder in ["proc", "sys"] {
        initramfs.folder(folder);
    }
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    let guest = Guest {
        kernel: to.join("vmlinuz"),
        initrd: to.join("initrd"),
    };
    let image = &artifacts.kernel.image;
    let context = || format!("copying {} to {}", image.display(), guest.kernel.display());
    fs::copy(image, &guest.kernel).with_context(context)?;
    let context = || format!("writing {}", guest.initrd.display());
    fs::write(&guest.initrd, initramfs.finish()).with_context(context)?;
    Ok(guest)
}

/// Process 1. Modules come in an order in which each finds what it needs.
fn script(modules: &[Module]) -> String {
    let load: String = modules
        .iter()
        .map(|module| format!("insmod /modules/{}.ko\n", module.name))
        .collect();
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/bin HOME=/ TERM=linux\n\
         mount -t devtmpfs devtmpfs /dev 2>/dev/null\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         {load}\
         echo \"Linux $(uname -r); this console is on $(cut -d ' ' -f 2 /proc/fb).\" >/dev/tty1\n\
         setsid sh -c 'exec sh </dev/tty1 >/dev/tty1 2>&1' &\n\
         echo 'What you write to /dev/tty1 is on the screen; exit switches off.'\n\
         setsid cttyhack sh\n\
         poweroff -f\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_in_their_order_before_the_shells() {
        let module = |name: &str| Module {
            name: name.to_owned(),
            file: PathBuf::new(),
            before: Vec::new(),
        };
        let script = script(&[module("drm"), module("virtio_gpu")]);
        let at = |text: &str| script.find(text);
        assert!(at("insmod /modules/drm.ko") < at("insmod /modules/virtio_gpu.ko"));
        assert!(at("insmod /modules/virtio_gpu.ko") < at("setsid"));
        assert!(script.starts_with("#!/bin/busybox sh\n"));
    }
}
