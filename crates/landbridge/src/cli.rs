//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo;

/// Zero-copy buffer sharing between a Linux host, its virtual machines and
/// their devices.
#[derive(Debug, Parser)]
#[command(name = "landbridge", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does the main job in one command, with no VM: decodes a clip into GPU
    /// buffers found by UUID, maps them in an embedded guest, scans them out.
    Demo(demo::Options),
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(options) => demo::command(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("landbridge: {:#}", failure.error());
            failure.exit_code()
        }
    }
}
