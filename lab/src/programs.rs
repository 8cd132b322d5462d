//! Builds the programs that run in and beside machines: static, so that they
//! run on any kernel with nothing around them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The package of the init.
pub const INIT: &str = "landbridge-lab-init";

const TARGET: &str = "x86_64-unknown-linux-gnu";

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
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            TARGET,
            "--target-dir",
        ])
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
