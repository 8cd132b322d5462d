//! `cargo xtask test`: every test of the workspace, then the lab.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{cargo, must_succeed};

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leaves the lab out: only what `cargo test` runs.
    #[arg(long)]
    no_lab: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    must_succeed(cargo().args(["test", "--workspace"]))?;
    if args.no_lab {
        return Ok(ExitCode::SUCCESS);
    }
    crate::lab::run(&crate::lab::Args::default())
}
