//! The recorder that a scenario's body writes its checks to.

mod kernel;

pub use kernel::KnownWarning;

use std::fmt;
use std::fs::File;
use std::io::Write as _;

use rustix::io::Errno;

use crate::report::{Ask, Event, LONG_WORD, Verdict};
use crate::sys::answer;

use kernel::{Warning, Watch};

/// Records checks and sends each to the host as it is made.
#[derive(Debug)]
pub struct Checks {
    scenario: &'static str,
    port: File,
    made: usize,
    wrong: Vec<String>,
    kernel: Option<Watch>,
    known: Vec<KnownWarning>,
}

impl Checks {
    /// A recorder for `scenario` that writes events to `port`.
    #[must_use]
    pub fn new(scenario: &'static str, port: File) -> Self {
        Self {
            scenario,
            port,
            made: 0,
            wrong: Vec::new(),
            kernel: Some(Watch::new()),
            known: kernel::SLOW.to_vec(),
        }
    }

    /// Checks that `got` is `want`.
    pub fn equal<T: PartialEq + fmt::Debug>(&mut self, what: &str, got: &T, want: &T) -> bool {
        let ok = got == want;
        let detail = if ok {
            format!("{got:?}")
        } else {
            format!("got {got:?}, want {want:?}")
        };
        self.record(what, ok, detail)
    }

    /// Checks that `ok`; `detail` says what was seen.
    pub fn holds(&mut self, what: &str, ok: bool, detail: impl fmt::Display) -> bool {
        self.record(what, ok, detail.to_string())
    }

    /// Checks that `result` is an error and that it reads like `want`, which is
    /// a part of its text.
    pub fn refused<T, E: fmt::Display>(
        &mut self,
        what: &str,
        result: Result<T, E>,
        want: &str,
    ) -> bool {
        match result {
            Ok(_) => self.record(what, false, "was allowed".into()),
            Err(error) => {
                let text = error.to_string();
                let ok = text.contains(want);
                self.record(what, ok, text)
            }
        }
    }

    /// Checks what the kernel answers: `ok` or the name of an error.
    pub fn answers<T>(&mut self, what: &str, result: Result<T, Errno>, want: &str) -> bool {
        self.equal(what, &answer(result).as_str(), &want)
    }

    /// Reports one cell of the conformance matrix.
    pub fn cell(&mut self, exporter: &str, property: &str, value: &str) {
        self.made += 1;
        self.send(&Event::Cell {
            scenario: self.scenario.into(),
            exporter: exporter.into(),
            property: property.into(),
            value: value.into(),
        });
    }

    /// Reports something that proves nothing.
    pub fn note(&mut self, text: impl fmt::Display) {
        self.send(&Event::Note {
            scenario: self.scenario.into(),
            text: text.to_string(),
        });
    }

    /// Declares warnings that the stock kernel may give while this body runs,
    /// through no fault of ours. Any other one still fails the scenario.
    pub fn excuse(&mut self, known: &[KnownWarning]) {
        self.known.extend(known);
    }

    /// How often a body does what it repeats: `short` times, as in CI, or `long`
    /// times where the lab was asked for that (`cargo xtask lab --long`).
    #[must_use]
    pub fn rounds(&self, short: u32, long: u32) -> u32 {
        let words = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        match words.split_whitespace().any(|word| word == LONG_WORD) {
            true => long,
            false => short,
        }
    }

    /// Asks the host for something.
    pub fn ask(&mut self, ask: Ask) {
        self.send(&Event::Ask {
            scenario: self.scenario.into(),
            ask,
        });
    }

    /// Sends the verdict that follows from `outcome` and the checks made.
    pub fn finish(mut self, outcome: anyhow::Result<()>) {
        if let Some(watch) = self.kernel.take() {
            self.judge_kernel(watch);
        }
        let verdict = self.verdict(outcome);
        self.send(&Event::End {
            scenario: self.scenario.into(),
            verdict,
        });
    }

    fn judge_kernel(&mut self, watch: Watch) {
        const CLAIM: &str = "the kernel has no complaint";
        let (warnings, trouble) = watch.end();
        for Warning { function, text } in warnings {
            match self.known.iter().find(|known| known.function == function) {
                Some(known) => self.note(format!("known warning in {function}: {}", known.reason)),
                None => {
                    self.holds(CLAIM, false, format!("a warning in {function}"));
                    self.note(text.join("\n"));
                }
            }
        }
        if let Some(trouble) = trouble {
            self.holds(CLAIM, false, trouble);
        }
    }

    fn verdict(&self, outcome: anyhow::Result<()>) -> Verdict {
        if let Err(error) = outcome {
            if let Some(skip) = error.downcast_ref::<Skip>() {
                return Verdict::Skipped {
                    reason: skip.0.clone(),
                };
            }
            return Verdict::Failed {
                reason: format!("{error:#}"),
            };
        }
        match (self.wrong.as_slice(), self.made) {
            ([], 0) => Verdict::Failed {
                reason: "made no check".into(),
            },
            ([], _) => Verdict::Passed,
            ([first, ..], _) => Verdict::Failed {
                reason: format!(
                    "{} of {} checks wrong: {first}",
                    self.wrong.len(),
                    self.made
                ),
            },
        }
    }

    fn record(&mut self, what: &str, ok: bool, detail: String) -> bool {
        self.made += 1;
        if !ok {
            self.wrong.push(format!("{what}: {detail}"));
        }
        self.send(&Event::Check {
            scenario: self.scenario.into(),
            check: what.into(),
            ok,
            detail,
        });
        ok
    }

    fn send(&mut self, event: &Event) {
        send(&mut self.port, event);
    }
}

/// Writes `event` as one line, in one write.
///
/// A host that no longer listens is not this side's trouble: it has its own
/// time limit, and the console has the story.
pub fn send(port: &mut File, event: &Event) {
    let Ok(mut line) = serde_json::to_vec(event) else {
        return;
    };
    line.push(b'\n');
    if let Err(error) = port.write_all(&line) {
        eprintln!("lab: the report port: {error}");
    }
}

/// The error of a body whose claim can't be tried in this machine.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// A [`Skip`] as the error of a body.
pub fn skip(reason: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Skip(reason.to_string()))
}
