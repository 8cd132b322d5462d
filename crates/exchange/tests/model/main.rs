//! The exchange under a model checker: all that can happen to a buffer, by up to
//! three actors at a time, in many orders of their steps.
//!
//! `cargo xtask model` runs it, and `cargo xtask test` a shorter one. How many
//! orders of each case are tried is in LANDBRIDGE_MODEL_ORDERS. Deadlines pass
//! whenever the checker says so, so every wait ends in both ways.

mod cases;
mod mutants;
mod watched;
mod world;

/// How many orders of each case are tried.
fn orders() -> usize {
    let asked = std::env::var("LANDBRIDGE_MODEL_ORDERS");
    asked
        .ok()
        .and_then(|orders| orders.parse().ok())
        .unwrap_or(40)
}

/// Which orders: the same in every test run, so that one that fails does so for
/// a change of ours. LANDBRIDGE_MODEL_SEED names others.
fn seed() -> u64 {
    let asked = std::env::var("LANDBRIDGE_MODEL_SEED");
    asked.ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}
