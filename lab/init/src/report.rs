//! What a machine tells the host: one line of JSON per event, over a
//! virtio-serial port.

use serde::{Deserialize, Serialize};

/// The name of the virtio-serial port that carries the events.
pub const PORT: &str = "landbridge.lab.report";

/// The word of the kernel's command line that names the scenarios to run,
/// separated by commas.
pub const RUN_WORD: &str = "landbridge.run=";

/// The word of the kernel's command line that names the scenarios to run in a
/// guest inside this machine.
pub const NEST_WORD: &str = "landbridge.nest=";

/// The word of the kernel's command line that asks for the long form of scenarios
/// that have one.
pub const LONG_WORD: &str = "landbridge.long";

/// The word of the kernel's command line that asks for a shell.
pub const SHELL_WORD: &str = "landbridge.shell";

/// One thing that happened in a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The init has mounted what it must and takes over.
    Boot {
        /// The kernel's release.
        kernel: String,
        /// Time since the kernel's start.
        uptime_ms: u64,
    },
    /// A scenario's body begins; its time limit runs from here.
    Start {
        /// Its name.
        scenario: String,
    },
    /// One expectation was looked at.
    Check {
        /// The scenario's name.
        scenario: String,
        /// What was expected, in words.
        check: String,
        /// Whether it was so.
        ok: bool,
        /// What was seen.
        detail: String,
    },
    /// One cell of the conformance matrix.
    Cell {
        /// The scenario's name.
        scenario: String,
        /// The exporter, the column.
        exporter: String,
        /// The property, the row.
        property: String,
        /// What the kernel did.
        value: String,
    },
    /// Something worth reading that proves nothing.
    Note {
        /// The scenario's name.
        scenario: String,
        /// What.
        text: String,
    },
    /// The machine asks the host for something.
    Ask {
        /// The scenario's name.
        scenario: String,
        /// What.
        ask: Ask,
    },
    /// A scenario's body has ended.
    End {
        /// Its name.
        scenario: String,
        /// How.
        verdict: Verdict,
    },
    /// Nothing is left to run; power-off follows.
    Done,
}

/// What a machine may ask of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Kill this machine's QEMU.
    KillMachine,
}

/// How a scenario ended, as its own machine tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check was right, and there was at least one.
    Passed,
    /// A check was wrong, or the body could not go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// The claim can't be tried in this machine.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The body's process ended without a verdict.
    Crashed {
        /// How: a signal or an exit status.
        reason: String,
    },
}
