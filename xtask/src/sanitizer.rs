//! `cargo xtask sanitizer`: the hostile guest under the address sanitizer.
//!
//! [`hostile_guest`] sends a device everything that ever broke one. Under the
//! [address sanitizer], reading or writing memory that is not ours ends the
//! test, and so does memory that nobody can reach any more at its end.
//!
//! The sanitizer needs a nightly toolchain with its runtime. It needs no
//! options: the windows' and guests' reservations of address space lie outside
//! of what it uses itself. Where a machine forbids `ptrace`, its leak check
//! ends with "LeakSanitizer has encountered a fatal error"; there
//! `ASAN_OPTIONS=detect_leaks=0` leaves that check out.
//!
//! [`hostile_guest`]: ../../../crates/landbridge/tests/hostile_guest/main.rs
//! [address sanitizer]: https://doc.rust-lang.org/nightly/unstable-book/compiler-flags/sanitizer.html#addresssanitizer

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::workspace::{must_succeed, root};

#[derive(clap::Args, Default)]
pub(crate) struct Args {}

/// The sanitizer slows everything down sixfold, and shows in one pass what it
/// shows at all; the memory that the test itself counts needs a few.
const PASSES: &str = "4";

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    let toolchain = match Toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(missing) => {
            println!("skipped: the hostile guest under the address sanitizer: {missing}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    must_succeed(
        nightly("cargo")
            .args(["test", "--package", "landbridge", "--test", "hostile_guest"])
            .args(["--target", &toolchain.host, "--target-dir"])
            .arg(target_dir())
            .env("RUSTFLAGS", "-Zsanitizer=address")
            .env("HOSTILE_PASSES", PASSES)
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A nightly toolchain with the sanitizer's runtime.
struct Toolchain {
    /// What it compiles for, named so that build scripts and macros are left
    /// without the sanitizer.
    host: String,
}

impl Toolchain {
    /// The toolchain, or why there is none.
    fn find() -> Result<Self, String> {
        let version = answer(nightly("rustc").arg("-vV"))?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.ok_or("rustc does not say its host")?.to_owned();
        let libraries = answer(nightly("rustc").args(["--print", "target-libdir"]))?;
        if has_runtime(Path::new(libraries.trim())) {
            Ok(Self { host })
        } else {
            Err(format!("nightly has no address sanitizer for {host}"))
        }
    }
}

/// What a program says, or why it says nothing.
fn answer(command: &mut Command) -> Result<String, String> {
    match command.output() {
        Err(error) => Err(format!("rustup does not start: {error}")),
        Ok(output) if !output.status.success() => {
            Err("no nightly toolchain is installed".to_owned())
        }
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

fn has_runtime(libraries: &Path) -> bool {
    let is_runtime = |name: OsString| name.to_string_lossy().ends_with("_rt.asan.a");
    libraries
        .read_dir()
        .is_ok_and(|mut files| files.any(|file| file.is_ok_and(|it| is_runtime(it.file_name()))))
}

/// A program of the nightly toolchain. The cargo that runs us is the pinned
/// toolchain's own, which knows no others.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", program])
        // Only what is there already.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .current_dir(root());
    command
}

/// A folder of its own: everything is compiled anew with other flags.
fn target_dir() -> PathBuf {
    let all = std::env::var_os("CARGO_TARGET_DIR");
    all.map_or_else(|| root().join("target"), PathBuf::from)
        .join("address-sanitizer")
}
