//! Builds the programs that run in and beside machines: static, so that they
//! run on any kernel with nothing around them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use landbridge_lab_init::scenario::Scenario;

/// The package of the init.
pub const INIT: &str = "landbridge-lab-init";

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The packages whose programs the machines of `scenarios` have beside and
/// inside them.
#[must_use]
pub fn of(scenarios: &[&'static Scenario]) -> Vec<&'static str> {
    let beside = scenarios
        .iter()
        .flat_map(|scenario| scenario.needs.beside)
        .map(|beside| beside.program)
        .filter(|package| *package != INIT);
    once(beside.chain(inside(scenarios)))
}

/// The packages whose programs lie in the machine of `scenarios`.
#[must_use]
pub fn inside(scenarios: &[&'static Scenario]) -> Vec<&'static str> {
    once(scenarios.iter().flat_map(|it| it.needs.inside).copied())
}

fn once(packages: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut packages: Vec<_> = packages.collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Builds `packages` of the workspace at `root` under the lab's `folder`, and
/// returns the folder that holds the programs.
///
/// # Errors
/// When cargo fails.
pub fn build(root: &Path, folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = folder.join("build");
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static",
        )
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    for package in packages {
        command.args(["--package", package]);
    }
    let status = command.status().context("starting cargo")?;
    if !status.success() {
        bail!("building {} failed", packages.join(" and "));
    }
    Ok(target.join(TARGET).join("release"))
}

/// The programs in `folder`, which [`build`] returned.
///
/// # Errors
/// When it can't be read.
pub fn all(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // cargo's own files here have extensions or start with a dot.
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_file() && !name.contains('.') {
            programs.push(path);
        }
    }
    Ok(programs)
}
