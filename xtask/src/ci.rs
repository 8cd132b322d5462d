//! `cargo xtask ci`: what CI runs, in the order that fails fastest.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{cargo, must_succeed};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    must_succeed(cargo().args(["fmt", "--all", "--check"]))?;
    must_succeed(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    must_succeed(
        cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    crate::test::run(&crate::test::Args::default())
}
