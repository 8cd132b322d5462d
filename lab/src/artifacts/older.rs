//! Kernels of older Debian releases, for the scenarios that ask for them:
//! fetched when one is first needed.
//!
//! Their packages hold everything in one, so all of it comes down.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use landbridge_lab_init::scenario::Kernel as Series;

use super::{Kernel, Missing, debian};

/// Where a series comes from.
struct Origin {
    /// The suite that has it.
    suite: &'static str,
    /// The package, as apt searches for it.
    package: &'static str,
}

/// The kernel of `series`, cached or else from the mirror; none for the series
/// that every run has.
///
/// # Errors
/// [`Missing`] with the reason, when it is not cached and can't be fetched.
pub(super) fn obtain(folder: &Path, series: Series) -> Result<Option<Kernel>> {
    let origin = match series {
        Series::Linux7_2 => return Ok(None),
        Series::Linux6_12 => Origin {
            suite: "trixie",
            package: r"^linux-image-6\.12\.[0-9]+\+deb13-amd64$",
        },
        Series::Linux6_1 => Origin {
            suite: "bookworm",
            package: r"^linux-image-6\.1\.0-[0-9]+-amd64$",
        },
    };
    let record = record(folder, series);
    if let Some(kernel) = cached(&record) {
        return Ok(Some(kernel));
    }
    let kernel = fetch(folder, &origin).map_err(|error| {
        let word = series.word();
        Missing(format!("Linux {word}: {error:#}"))
    })?;
    fs::write(&record, serde_json::to_vec_pretty(&kernel)?)
        .with_context(|| format!("writing {}", record.display()))?;
    Ok(Some(kernel))
}

/// Has every older kernel looked for anew when it is next needed. One that is
/// still the mirror's newest is not fetched again.
///
/// # Errors
/// When a record can't be removed.
pub(super) fn forget(folder: &Path) -> Result<()> {
    for series in Series::ALL {
        let record = record(folder, *series);
        if record.exists() {
            fs::remove_file(&record).with_context(|| format!("removing {}", record.display()))?;
        }
    }
    Ok(())
}

fn record(folder: &Path, series: Series) -> PathBuf {
    folder.join(format!("linux-{}.json", series.word()))
}

fn cached(record: &Path) -> Option<Kernel> {
    let kernel: Kernel = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
    kernel.image.exists().then_some(kernel)
}

fn fetch(folder: &Path, origin: &Origin) -> Result<Kernel> {
    let apt = debian::reach(&folder.join("apt-older").join(origin.suite), origin.suite)?;
    let package = apt.newest(origin.package)?;
    let release = package.trim_start_matches("linux-image-");
    let tree = folder.join("cache").join(&package);
    if !tree.exists() {
        debian::fetch_tree(&apt, std::slice::from_ref(&package), &tree)?;
    }
    // Debian 12 has not merged /lib into /usr in its packages.
    let modules = ["usr/lib/modules", "lib/modules"]
        .map(|at| tree.join(at).join(release))
        .into_iter()
        .find(|folder| folder.exists())
        .with_context(|| format!("{package} has no modules"))?;
    Ok(Kernel {
        image: tree.join(format!("boot/vmlinuz-{release}")),
        version: release.to_owned(),
        modules,
    })
}
