//! `cargo xtask model`: the exchange under a model checker, and what takes no lock
//! under another.
//!
//! The same cases as a test run has, with many more orders of each.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{cargo, must_succeed};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many orders of each case are tried.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    orders: usize,
    /// Which orders: another number, other orders.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl Args {
    /// What a test run tries: a minute's worth.
    pub(crate) fn short() -> Self {
        Self {
            orders: 40,
            seed: 1,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // All orders that the memory model allows: there is no number to choose.
    must_succeed(
        cargo()
            .args(["test", "--package", "landbridge-dmabuf"])
            .args(["--features", "model", "--lib", "slot::model"]),
    )?;
    must_succeed(
        cargo()
            .args(["test", "--package", "landbridge-exchange"])
            .args(["--features", "model", "--test", "model"])
            .env("LANDBRIDGE_MODEL_ORDERS", args.orders.to_string())
            .env("LANDBRIDGE_MODEL_SEED", args.seed.to_string())
            // A seeded bug is found by a panic, thousands of which have a trace.
            .env("RUST_BACKTRACE", "0"),
    )?;
    Ok(ExitCode::SUCCESS)
}
