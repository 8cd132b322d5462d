//! `cargo xtask lab`: real kernels under software emulation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use landbridge_lab::artifacts::{Artifacts, Missing};
use landbridge_lab::batch::Batch;
use landbridge_lab::outcome::{Judgement, Outcome, Summary};
use landbridge_lab::workshop::Workshop;
use landbridge_lab_init::scenario::Scenario;
use landbridge_lab_init::scenarios;

use crate::workspace;

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only scenarios whose name contains one of these; or `list`, `shell`,
    /// `conformance`, `update`.
    names: Vec<String>,
    /// One JSON object per scenario, and the summary as the last.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let chosen = choose(&args.names)?;
    let start = Instant::now();
    let outcomes = outcomes(args, &chosen)?;
    let summary = Summary::of(&outcomes);
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("lab: {summary} in {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(if summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let chosen: Vec<_> = scenarios::ALL
        .iter()
        .filter(|scenario| {
            names.is_empty()
                || names
                    .iter()
                    .any(|name| scenario.name.contains(name.as_str()))
        })
        .collect();
    if chosen.is_empty() {
        bail!("no scenario's name contains {}", names.join(" or "));
    }
    Ok(chosen)
}

fn outcomes(args: &Args, chosen: &[&'static Scenario]) -> Result<Vec<Outcome>> {
    let show = |outcome: &Outcome| {
        if args.json {
            println!("{}", serde_json::to_string(outcome).unwrap_or_default());
        } else {
            println!("{outcome}");
        }
    };
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    let artifacts = match Artifacts::obtain(&folder, false) {
        Ok(artifacts) => artifacts,
        Err(error) => {
            let missing: Missing = error.downcast()?;
            let outcomes = all_missing(chosen, &missing);
            outcomes.iter().for_each(show);
            return Ok(outcomes);
        }
    };
    let workshop = Workshop::new(&workspace::root(), &folder, artifacts, &[])?;
    Ok(landbridge_lab::run::run(
        &workshop,
        Batch::group(chosen),
        show,
    ))
}

fn all_missing(chosen: &[&'static Scenario], missing: &Missing) -> Vec<Outcome> {
    let required = std::env::var_os("LANDBRIDGE_LAB").is_some_and(|value| value == "required");
    chosen
        .iter()
        .map(|scenario| {
            let reason = missing.to_string();
            let judgement = if required {
                Judgement::Failed {
                    reason,
                    console: Vec::new(),
                }
            } else {
                Judgement::Skipped { reason }
            };
            Outcome::new(scenario, judgement)
        })
        .collect()
}

/// Where the lab keeps what it fetches and builds.
fn folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace::root().join("target"), PathBuf::from)
        .join("lab")
}
