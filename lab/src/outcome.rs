//! What came of a scenario, for people and for programs.

use std::fmt;

use landbridge_lab_init::scenario::{Failure, Kernel, Scenario};
use serde::Serialize;

/// How a scenario ended, judged by the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Judgement {
    /// The claim holds.
    Passed,
    /// It does not, or could not be seen to.
    Failed {
        /// Why.
        reason: String,
        /// The last lines of the console.
        console: Vec<String>,
    },
    /// It can't be tried here.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Judgement {
    /// For something that this machine does not have: skipped, or failed where
    /// the lab is required.
    #[must_use]
    pub fn missing(reason: &str) -> Self {
        let required = std::env::var_os("LANDBRIDGE_LAB").is_some_and(|value| value == "required");
        Self::missing_where(required, reason)
    }

    fn missing_where(required: bool, reason: &str) -> Self {
        let reason = reason.to_owned();
        if required {
            return Self::Failed {
                reason,
                console: Vec::new(),
            };
        }
        Self::Skipped { reason }
    }
}

/// One expectation that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was expected.
    pub check: String,
    /// Whether it was so.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

/// One cell of the conformance matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The column.
    pub exporter: String,
    /// The row.
    pub property: String,
    /// What the kernel did.
    pub value: String,
}

/// What came of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: &'static str,
    /// Its claim.
    pub claim: &'static str,
    /// Where it ran.
    pub storey: &'static str,
    /// The kernel's series.
    pub kernel: &'static str,
    /// How it ended.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// From its start to its verdict.
    pub millis: u64,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// Its part of the conformance matrix.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// Things worth reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Outcome {
    /// One that has nothing to show yet but its judgement.
    #[must_use]
    pub fn new(scenario: &Scenario, kernel: Kernel, judgement: Judgement) -> Self {
        Self {
            scenario: scenario.name,
            claim: scenario.claim,
            storey: scenario.storey.word(),
            kernel: kernel.word(),
            judgement,
            millis: 0,
            checks: Vec::new(),
            cells: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether the judgement is a failure.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.judgement, Judgement::Failed { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.millis as f64 / 1000.0;
        let word = match self.judgement {
            Judgement::Passed => "ok",
            Judgement::Failed { .. } => "FAILED",
            Judgement::Skipped { .. } => "skipped",
        };
        write!(
            f,
            "{word:<7} {:<6} {:<4} {seconds:5.1} s  {}",
            self.storey, self.kernel, self.scenario
        )?;
        match &self.judgement {
            Judgement::Passed => write!(f, " ({} checks)", self.checks.len() + self.cells.len()),
            Judgement::Skipped { reason } => write!(f, ": {reason}"),
            Judgement::Failed { reason, console } => {
                write!(f, ": {reason}")?;
                for check in self.checks.iter().filter(|check| !check.ok) {
                    write!(f, "\n    wrong: {}: {}", check.check, check.detail)?;
                }
                for note in &self.notes {
                    write!(f, "\n    note: {}", note.replace('\n', "\n        "))?;
                }
                for line in console {
                    write!(f, "\n    | {line}")?;
                }
                Ok(())
            }
        }
    }
}

/// How many ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Claims that hold.
    pub passed: usize,
    /// Claims that don't.
    pub failed: usize,
    /// Claims that could not be tried.
    pub skipped: usize,
}

impl Summary {
    /// Counts `outcomes`.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut summary = Self::default();
        for outcome in outcomes {
            match outcome.judgement {
                Judgement::Passed => summary.passed += 1,
                Judgement::Failed { .. } => summary.failed += 1,
                Judgement::Skipped { .. } => summary.skipped += 1,
            }
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// What the host says of a failure that it found itself.
#[must_use]
pub fn found(failure: Failure, detail: &str) -> String {
    if detail.is_empty() {
        failure.word().to_owned()
    } else {
        format!("{}: {detail}", failure.word())
    }
}

#[cfg(test)]
mod tests {
    use super::Judgement;

    #[test]
    fn what_is_missing_is_a_failure_only_where_the_lab_is_required() {
        let reason = "Linux 6.1: no mirror";
        let skipped = Judgement::missing_where(false, reason);
        assert!(matches!(skipped, Judgement::Skipped { reason: why } if why == reason));
        let failed = Judgement::missing_where(true, reason);
        assert!(matches!(failed, Judgement::Failed { reason: why, .. } if why == reason));
    }
}
