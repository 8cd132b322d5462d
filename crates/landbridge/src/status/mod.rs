//! `landbridge status`: what a running `landbridge serve` holds.

mod tables;

use std::path::PathBuf;

use clap::Args;

use crate::control::Client;
use crate::failure::Failure;
use crate::terminal;

/// The command line of `landbridge status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge status --control control.sock

Exit status: 0 when the program answered, 1 when not.")]
pub struct Options {
    /// The control socket of the running `landbridge serve`.
    #[arg(long, value_name = "SOCK")]
    pub control: PathBuf,

    /// Print one JSON object; docs/control-protocol.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

/// Runs `landbridge status`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let status = Client::connect(&options.control)?.status()?;
    let text = match options.json {
        true => serde_json::to_string(&status)? + "\n",
        false => tables::of(&status).to_string(),
    };
    terminal::print(&text)?;
    Ok(())
}
