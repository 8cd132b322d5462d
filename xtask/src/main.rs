//! Developer commands, run as `cargo xtask COMMAND`: one file each.

#[cfg(test)]
mod architecture;
mod clip;
mod lab;
mod model;
mod sanitizer;
mod test;
mod workspace;

use clap::{Parser, Subcommand};

/// Developer commands of Landbridge.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every test: the workspace's own, then the lab.
    Test(test::Args),
    /// Boots real kernels and runs the lab's scenarios in them.
    Lab(lab::Args),
    /// Runs the exchange under a model checker, longer than the tests do.
    Model(model::Args),
    /// Runs the hostile guest under the address sanitizer.
    Sanitizer(sanitizer::Args),
    /// Makes the clip that the demo plays.
    Clip(clip::Args),
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Sanitizer(args) => sanitizer::run(&args),
        Command::Clip(args) => clip::run(&args),
    }
}
