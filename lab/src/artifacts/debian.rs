//! The kernel and QEMU as Debian packages, unpacked into a cache that is keyed
//! by version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::{Artifacts, Kernel, Missing, Qemu, mirror, qemu_version};

/// The kernel that the facts and the golden matrix are about, as apt searches
/// for its package.
const KERNEL: &str = r"^linux-binary-7\.2\.[0-9]+\+deb13-amd64$";

/// The same with any version, for when the mirror has moved on.
const ANY_KERNEL: &str = r"^linux-binary-[0-9.]+\+deb13-amd64$";

/// The suites that are asked: the newer kernel and QEMU, and what they stand on.
const SUITES: &str = "trixie trixie-backports";

const QEMU: &str = "qemu-system-x86";
const PACKAGES: [&str; 3] = [QEMU, "qemu-system-modules-spice", "busybox-static"];

/// Dependencies that only a 3D renderer or an installed system would use: a
/// third of the download.
const LEFT_OUT: [&str; 6] = [
    "mesa-libgallium",
    "libllvm",
    "libz3",
    "iso-codes",
    "systemd=",
    "openssl-provider-legacy",
];

/// The cached artifacts, or fresh ones when there are none or `refresh`.
///
/// # Errors
/// [`Missing`] with the reason, when they are not cached and can't be fetched.
pub(super) fn obtain(folder: &Path, refresh: bool) -> Result<Artifacts> {
    let record = folder.join("artifacts.json");
    if !refresh && let Some(artifacts) = cached(&record) {
        return Ok(artifacts);
    }
    let artifacts = fetch(folder).map_err(|error| Missing(format!("{error:#}")))?;
    fs::write(&record, serde_json::to_vec_pretty(&artifacts)?)
        .with_context(|| format!("writing {}", record.display()))?;
    Ok(artifacts)
}

fn cached(record: &Path) -> Option<Artifacts> {
    let artifacts: Artifacts = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
    let there = artifacts.kernel.image.exists() && artifacts.qemu.tree.as_ref()?.exists();
    there.then_some(artifacts)
}

fn fetch(folder: &Path) -> Result<Artifacts> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the lab's machines are x86-64, and so must this one be");
    }
    let apt = reach(&folder.join("apt"), SUITES)?;
    let kernel = fetch_kernel(&apt, folder)?;
    let (qemu, busybox) = fetch_qemu(&apt, folder)?;
    Ok(Artifacts {
        kernel,
        qemu,
        busybox: Some(busybox),
    })
}

/// The first of this machine's mirrors that has the suites; `folder` is the
/// private apt's own.
pub(super) fn reach(folder: &Path, suites: &str) -> Result<Apt> {
    let mut last = anyhow::anyhow!("this machine's apt names no mirror, or there is no apt");
    for uri in mirror::candidates() {
        eprintln!("lab: asking this machine's Debian mirror for packages of {suites}");
        let apt = Apt::new(folder, &uri, suites)?;
        match apt.update() {
            Ok(()) => return Ok(apt),
            Err(error) => last = error.context("no mirror of Debian's packages answered"),
        }
    }
    Err(last)
}

fn fetch_kernel(apt: &Apt, folder: &Path) -> Result<Kernel> {
    let package = apt.newest(KERNEL).or_else(|_| {
        eprintln!("lab: the mirror has no Linux 7.2 any more; the newest kernel has to do, and the conformance matrix may differ");
        apt.newest(ANY_KERNEL)
    })?;
    let release = package.trim_start_matches("linux-binary-");
    let tree = folder.join("cache").join(&package);
    if !tree.exists() {
        let packages = [package.clone(), format!("linux-modules-{release}")];
        fetch_tree(apt, &packages, &tree)?;
    }
    let modules = tree.join("usr/lib/modules").join(release);
    Ok(Kernel {
        image: modules.join("vmlinuz"),
        version: release.to_owned(),
        modules,
    })
}

fn fetch_qemu(apt: &Apt, folder: &Path) -> Result<(Qemu, PathBuf)> {
    let tree = folder
        .join("cache")
        .join(format!("qemu-{}", apt.version(QEMU)?.replace(':', "_")));
    if !tree.exists() {
        let mut packages = apt.closure(&PACKAGES)?;
        packages.retain(|package| !LEFT_OUT.iter().any(|out| package.starts_with(out)));
        fetch_tree(apt, &packages, &tree)?;
    }
    let mut qemu = Qemu {
        tree: Some(tree.clone()),
        program: PathBuf::new(),
        version: (0, 0),
    };
    let command = qemu.command(Some(&tree));
    let mut asked = Command::new(&command[0]);
    asked.args(&command[1..]);
    qemu.version = qemu_version(asked)?;
    Ok((qemu, tree.join("usr/bin/busybox")))
}

/// Unpacks into a folder that gets its name only once it is whole.
pub(super) fn fetch_tree(apt: &Apt, packages: &[String], tree: &Path) -> Result<()> {
    let unfinished = tree.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    apt.unpack(packages, &unfinished)?;
    fs::rename(&unfinished, tree).with_context(|| format!("naming {}", tree.display()))
}
