//! The desk: a program that stands beside a machine and does there what a
//! scenario in the machine asks for. So one body sees both sides: what the
//! guest's kernel says, and what `landbridge` on the host says about the same
//! bytes.
//!
//! A question is one line of JSON over a virtio-serial port, an answer is one
//! line of JSON and as many bytes as it announces.

mod client;
mod daemon;
pub mod machine;
mod monitor;
mod program;
mod work;

pub use client::{Desk, Ran, Shot, buffers};
pub use program::run;

use landbridge_inspect::MapInfo;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::Checks;

/// The first argument of this program when it is the desk; the second is the
/// run's folder.
pub const ARGUMENT: &str = "--desk";

/// After the run's folder: no `landbridge serve` is beside the machine.
pub const ALONE: &str = "--alone";

/// The name of the desk's port in the machine.
pub const PORT: &str = "landbridge.lab.desk";

/// What `{run}` stands for in what a question names.
const RUN: &str = "{run}";

/// What a scenario may ask for. `{run}` in a text is the run's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
enum Question {
    /// Run `landbridge` with these arguments to its end.
    Run { arguments: Vec<String> },
    /// The picture that an output shows, by `landbridge screenshot`.
    Screenshot { device: usize, output: u32 },
    /// What `landbridge serve` holds.
    Daemon,
    /// What the machine's own QEMU holds.
    Vmm,
    /// Write to the host memory of the one blob of this size.
    WriteBlob { size: u64, at: u64, bytes: Vec<u8> },
    /// Begin to write to the one dma-buf of this size, as a device would.
    BeginWork { size: u64 },
    /// Write that, and end it.
    EndWork { at: u64, bytes: Vec<u8> },
    /// Set a parameter of a module of the kernel that the desk runs on.
    Parameter { name: String, value: String },
    /// Kill `landbridge serve` with SIGKILL.
    Kill,
    /// Start `landbridge serve` with these arguments, and wait until it serves.
    Serve { arguments: Vec<String> },
    /// Have QEMU's monitor do something.
    Qmp {
        command: String,
        arguments: serde_json::Value,
    },
    /// Pause the machine for this many milliseconds, and say what is shown and
    /// listed meanwhile.
    Pause { milliseconds: u64 },
    /// Keep something in mind.
    Remember { what: serde_json::Value },
    /// Say what was to be kept in mind.
    Recall,
    /// A program that answers like the QEMU that the lab runs, for
    /// `--print-qemu-args`.
    PretendQemu,
    /// Make a buffer of the exporter of this name and `landbridge share` it.
    Share { exporter: String, bytes: u64 },
    /// The page-table entries of these addresses, in the address space that
    /// holds the proof, as the machine's own QEMU sees them.
    Entries { proof: Proof, addresses: Vec<u64> },
}

/// A buffer of the machine that the desk is on, shared with the guest. Its first
/// byte of every page is the page's number plus 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// What `landbridge share` said: one JSON object.
    pub said: Value,
    /// How the desk's own mapping of it is.
    pub info: MapInfo,
}

/// What only one address space holds at this address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Where, in whole words and inside one page.
    pub address: u64,
    /// What.
    pub words: Vec<u64>,
}

/// Where a walk through page tables ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 1 for a small page, 2 for 2 MiB, 3 for 1 GiB.
    pub level: u8,
    /// The entry.
    pub entry: u64,
}

/// What the desk says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    /// Why it can't be done.
    error: Option<String>,
    /// The exit status of a program.
    status: Option<i32>,
    /// What it printed.
    printed: String,
    /// Its complaints.
    complaints: String,
    /// Width and height of a picture.
    size: (u32, u32),
    /// What a process holds.
    held: Option<Held>,
    /// What was shared.
    shared: Option<Shared>,
    /// Page-table entries.
    entries: Vec<Entry>,
    /// The bytes that follow.
    bytes: usize,
}

/// What a process holds of the machine that it runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its process.
    pub pid: i32,
    /// Open descriptors.
    pub descriptors: usize,
    /// Memory mappings.
    pub mappings: usize,
    /// Resident anonymous memory in KiB, without code that an emulator translated.
    pub anonymous_kib: u64,
}

impl Held {
    /// Checks that the process has no more descriptors and mappings than it had
    /// `before`, apart from what an allocator and its threads map for themselves.
    pub fn check_no_growth(self, checks: &mut Checks, who: &str, before: Self) {
        const SLACK: usize = 8;
        checks.note(format!("{who}: {before:?}, then {self:?}"));
        self.check_descriptors(checks, who, before);
        checks.holds(
            &format!("{who} has no mapping more"),
            self.mappings <= before.mappings + SLACK,
            format!("{}, then {}", before.mappings, self.mappings),
        );
    }

    /// Checks that the process has no more descriptors than it had `before`. Fewer
    /// is no mistake: a connection of then may have been about to close.
    pub fn check_descriptors(self, checks: &mut Checks, who: &str, before: Self) {
        checks.holds(
            &format!("{who} has no descriptor more"),
            self.descriptors <= before.descriptors,
            format!("{}, then {}", before.descriptors, self.descriptors),
        );
    }

    /// Checks that the process has at most `slack` KiB more than it had `before`.
    pub fn check_memory(self, checks: &mut Checks, who: &str, before: Self, slack: u64) {
        checks.holds(
            &format!("{who} has at most {slack} KiB more"),
            self.anonymous_kib <= before.anonymous_kib + slack,
            format!("{}, then {}", before.anonymous_kib, self.anonymous_kib),
        );
    }
}

/// The control socket of `landbridge serve`.
pub const CONTROL: &str = "{run}/control";
