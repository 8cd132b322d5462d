//! `landbridge inspect`: the dma-bufs of this machine, or of one process.
//!
//! - `document`: the JSON, whose keys are stable; `top` prints it too;
//! - `table`: the same for people; `notes`: what could not be seen, and why.

pub mod document;
pub mod notes;
pub mod table;

use std::str::FromStr;

use anyhow::anyhow;
use clap::Args;
use landbridge_inspect::report::{self, Report};
use landbridge_inspect::{Config, Inspector};

use crate::failure::Failure;
use crate::terminal;
use document::Document;

/// The command line of `landbridge inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  landbridge inspect
  landbridge inspect 4711
  landbridge inspect --json | jq '.buffers[] | select(.caching_differs)'

Caching is shown for each mapping with how it is known: pte (page table, exact),
vma (the mapping's protection), rule (an estimate by exporter). With CAP_BPF and
CAP_PERFMON it is read from the kernel; CAP_SYS_PTRACE shows what processes of
other users hold. Without them the rest is shown, and what is missing is said.

Exit status: 0 when it looked, whatever it found; 1 when the process does not exist
or may not be looked into.")]
pub struct Options {
    /// A process, or all of them.
    #[arg(value_name = "PID|all", default_value = "all")]
    pub whose: Whose,

    /// Print one JSON object; docs/tools.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

/// Whose buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The machine's.
    All,
    /// Those that a process holds.
    Process(u32),
}

impl FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let wrong = |_| format!("{text:?} is neither a process id nor \"all\"");
        text.parse().map(Self::Process).map_err(wrong)
    }
}

/// Runs `landbridge inspect`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let report = match options.whose {
        Whose::All => report::collect(&Inspector::open(Config::default()), None),
        Whose::Process(pid) => of_process(pid)?,
    };
    let text = match options.json {
        true => serde_json::to_string(&Document::of(&report))? + "\n",
        false => table::of(&report),
    };
    terminal::print(&text)?;
    Ok(())
}

fn of_process(pid: u32) -> Result<Report, Failure> {
    if !std::fs::exists(format!("/proc/{pid}"))? {
        return Err(anyhow!("no process {pid}").into());
    }
    let report = report::collect(&Inspector::open(Config::default()), Some(pid));
    // Nothing found is no answer where nothing could be seen.
    if report.unreadable_processes > 0 && report.buffers.is_empty() {
        let error =
            anyhow!("process {pid} may not be looked into: needs its user or CAP_SYS_PTRACE");
        return Err(error.into());
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_or_all() {
        assert_eq!("all".parse(), Ok(Whose::All));
        assert_eq!("17".parse(), Ok(Whose::Process(17)));
        assert!("-1".parse::<Whose>().is_err());
        assert!("init".parse::<Whose>().is_err());
    }
}
