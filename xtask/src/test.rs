//! `cargo xtask test`: every test of the workspace, the exchange under a model
//! checker, the hostile guest again under the address sanitizer, then the lab.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{cargo, must_succeed};

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leaves the lab out.
    #[arg(long)]
    no_lab: bool,
    /// Leaves the address sanitizer out.
    #[arg(long)]
    no_sanitizer: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    must_succeed(cargo().args(["test", "--workspace"]))?;
    crate::model::run(&crate::model::Args::short())?;
    if !args.no_sanitizer {
        crate::sanitizer::run(&crate::sanitizer::Args::default())?;
    }
    if args.no_lab {
        return Ok(ExitCode::SUCCESS);
    }
    crate::lab::run(&crate::lab::Args::default())
}
