//! Runs batches, two machines at a time, and judges what they report.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use landbridge_lab_init::report::{Ask, Event, Verdict};
use landbridge_lab_init::scenario::{Expect, Failure, Kernel, Scenario, Storey};

use crate::batch::Batch;
use crate::machine::{Heard, Machine};
use crate::outcome::{Cell, Check, Judgement, Outcome, found};
use crate::workshop::Workshop;

/// Emulated machines are two threads each; more at a time than this only slows
/// every one of them down.
const AT_A_TIME: usize = 2;

/// A boot, not a check, may be tried again: nested ones are known to die before
/// the init now and then.
const BOOTS: usize = 3;

/// How much of the console a failure shows.
const TAIL: usize = 25;

/// Runs `batches`; `each` sees every outcome as it comes, and has the
/// last word on it.
pub fn run(
    workshop: &Workshop,
    batches: Vec<Batch>,
    each: impl Fn(&mut Outcome) + Sync,
) -> Vec<Outcome> {
    let queue = Mutex::new(VecDeque::from(batches));
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(batch) = take(&queue) {
                    run_batch(workshop, batch, &|mut outcome| {
                        each(&mut outcome);
                        if let Ok(mut outcomes) = outcomes.lock() {
                            outcomes.push(outcome);
                        }
                    });
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

fn take(queue: &Mutex<VecDeque<Batch>>) -> Option<Batch> {
    queue.lock().ok()?.pop_front()
}

/// Runs one batch; what a lost machine leaves over runs in the next one.
fn run_batch(workshop: &Workshop, mut batch: Batch, each: &dyn Fn(Outcome)) {
    if let Some(reason) = workshop.missing(batch.kernel) {
        for scenario in batch.scenarios {
            let judgement = Judgement::missing(reason);
            each(Outcome::new(scenario, batch.kernel, judgement));
        }
        return;
    }
    let qemu = workshop.qemu().version;
    for scenario in batch.leave_out_newer_than(qemu) {
        let reason = needs_newer_qemu(scenario.needs.qemu, qemu);
        let judgement = Judgement::Skipped { reason };
        each(Outcome::new(scenario, batch.kernel, judgement));
    }
    let mut boots_left = BOOTS;
    while !batch.scenarios.is_empty() {
        let mut session = Session::new(&batch, workshop.patience());
        let lived = workshop
            .start(&batch)
            .map(|mut machine| session.listen(&mut machine, each));
        match lived {
            Ok(Lived::ToTheEnd) => {
                session.nothing_came(each);
                return;
            }
            Ok(Lived::UntilLost) => {}
            Ok(Lived::NeverBooted(console)) => {
                boots_left -= 1;
                if boots_left == 0 {
                    session.fail_all("the machine did not boot", &console, each);
                    return;
                }
                eprintln!(
                    "lab: a {} machine did not boot; trying again",
                    batch.storey.word()
                );
            }
            Err(error) => {
                session.fail_all(&format!("{error:#}"), &[], each);
                return;
            }
        }
        batch.scenarios = session.left;
    }
}

fn needs_newer_qemu((major, minor): (u32, u32), (has, has_minor): (u32, u32)) -> String {
    format!("needs QEMU {major}.{minor}; this one is {has}.{has_minor}")
}

/// How far a machine came.
enum Lived {
    ToTheEnd,
    UntilLost,
    NeverBooted(Vec<String>),
}

/// The life of one machine.
struct Session {
    left: Vec<&'static Scenario>,
    kernel: Kernel,
    /// How many kernels must boot before a body can run.
    kernels: usize,
    boot_limit: Duration,
    /// How many times its limit a scenario may take.
    patience: u32,
    current: Option<Current>,
}

/// The scenario that is running.
struct Current {
    scenario: &'static Scenario,
    outcome: Outcome,
    start: Instant,
}

impl Session {
    fn new(batch: &Batch, patience: u32) -> Self {
        let (kernels, boot_limit) = match batch.storey {
            Storey::Host | Storey::Guest => (1, Duration::from_secs(120)),
            Storey::Nested => (2, Duration::from_secs(240)),
        };
        Self {
            left: batch.scenarios.clone(),
            kernel: batch.kernel,
            kernels,
            boot_limit,
            patience,
            current: None,
        }
    }

    fn listen(&mut self, machine: &mut Machine, each: &dyn Fn(Outcome)) -> Lived {
        let mut boots = 0;
        let mut until = Instant::now() + self.boot_limit;
        loop {
            let heard = machine.hear(until);
            match heard {
                Some(Heard::Console(_)) => {}
                Some(Heard::Event(Event::Done)) => {
                    machine.wait_until_off(Duration::from_secs(10));
                    return Lived::ToTheEnd;
                }
                Some(Heard::Event(Event::Ask {
                    ask: Ask::KillMachine,
                    ..
                })) => machine.kill(),
                Some(Heard::Event(event)) => {
                    boots += usize::from(matches!(event, Event::Boot { .. }));
                    self.take(event, each);
                    until = self.deadline();
                }
                Some(Heard::Closed) | None => {
                    let failure = failure_of(machine, heard.is_none());
                    return self.lost(boots >= self.kernels, failure, machine, each);
                }
            }
        }
    }

    fn deadline(&self) -> Instant {
        match &self.current {
            Some(current) => current.start + current.scenario.limit * self.patience,
            None => Instant::now() + self.boot_limit,
        }
    }

    fn take(&mut self, event: Event, each: &dyn Fn(Outcome)) {
        match event {
            Event::Start { scenario } => self.begin(&scenario),
            Event::End { verdict, .. } => self.end(verdict, each),
            event => self.add(event),
        }
    }

    fn begin(&mut self, name: &str) {
        if let Some(current) = &self.current
            && current.scenario.needs.restarts
            && current.scenario.name == name
        {
            // Its machine has restarted.
            return;
        }
        let at = self.left.iter().position(|scenario| scenario.name == name);
        self.current = at.map(|at| {
            let scenario = self.left.remove(at);
            Current {
                scenario,
                outcome: Outcome::new(scenario, self.kernel, Judgement::Passed),
                start: Instant::now(),
            }
        });
    }

    fn add(&mut self, event: Event) {
        let Some(current) = &mut self.current else {
            return;
        };
        match event {
            Event::Check {
                check, ok, detail, ..
            } => current.outcome.checks.push(Check { check, ok, detail }),
            Event::Cell {
                exporter,
                property,
                value,
                ..
            } => current.outcome.cells.push(Cell {
                exporter,
                property,
                value,
            }),
            Event::Note { text, .. } => current.outcome.notes.push(text),
            _ => {}
        }
    }

    fn end(&mut self, verdict: Verdict, each: &dyn Fn(Outcome)) {
        let Some(current) = self.current.take() else {
            return;
        };
        let judgement = match verdict {
            Verdict::Passed => Ok(Judgement::Passed),
            Verdict::Skipped { reason } => Ok(Judgement::Skipped { reason }),
            Verdict::Failed { reason } => Ok(Judgement::Failed {
                reason,
                console: Vec::new(),
            }),
            Verdict::Crashed { reason } => Err((Failure::Crash, reason)),
        };
        each(current.judge(judgement, &[]));
    }

    fn lost(
        &mut self,
        booted: bool,
        failure: Failure,
        machine: &mut Machine,
        each: &dyn Fn(Outcome),
    ) -> Lived {
        let console = tail(machine.console());
        let gone = machine.end();
        if !booted {
            return Lived::NeverBooted(console);
        }
        match self.current.take() {
            Some(mut current) => {
                current.outcome.checks.push(Check {
                    check: "no process of the machine is left".into(),
                    ok: gone,
                    detail: gone.to_string(),
                });
                each(current.judge(Err((failure, String::new())), &console));
            }
            None => self.fail_next(failure, &console, each),
        }
        Lived::UntilLost
    }

    /// A machine that is lost between scenarios takes the next one with it, so
    /// that a machine that is always lost comes to an end.
    fn fail_next(&mut self, failure: Failure, console: &[String], each: &dyn Fn(Outcome)) {
        if !self.left.is_empty() {
            let scenario = self.left.remove(0);
            let reason = found(failure, "before the scenario began");
            each(self.failed(scenario, &reason, console));
        }
    }

    fn fail_all(&mut self, reason: &str, console: &[String], each: &dyn Fn(Outcome)) {
        for scenario in std::mem::take(&mut self.left) {
            each(self.failed(scenario, reason, console));
        }
    }

    /// A machine that says that it is done must have told of every scenario.
    fn nothing_came(&mut self, each: &dyn Fn(Outcome)) {
        self.fail_all("the machine ended without a verdict", &[], each);
    }

    fn failed(&self, scenario: &Scenario, reason: &str, console: &[String]) -> Outcome {
        let judgement = Judgement::Failed {
            reason: reason.to_owned(),
            console: console.to_vec(),
        };
        Outcome::new(scenario, self.kernel, judgement)
    }
}

impl Current {
    /// Whether the host found something wrong with the end of the machine.
    fn left_something(&self) -> bool {
        self.outcome.checks.iter().any(|check| !check.ok)
    }

    /// The outcome, with an expected failure turned into a pass and a missing
    /// one into a failure.
    fn judge(mut self, seen: Result<Judgement, (Failure, String)>, console: &[String]) -> Outcome {
        self.outcome.millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.outcome.judgement = match (self.scenario.expect, seen) {
            (Expect::Passes, Ok(judgement)) => judgement,
            (_, Err((failure, _))) if self.left_something() => Judgement::Failed {
                reason: found(failure, "a process of the machine is left"),
                console: console.to_vec(),
            },
            (Expect::Fails(wanted), Err((failure, _))) if wanted == failure => {
                let detail = format!("{} after {} ms", failure.word(), self.outcome.millis);
                self.outcome.checks.push(Check {
                    check: "the host reports a failure".into(),
                    ok: true,
                    detail,
                });
                Judgement::Passed
            }
            (Expect::Fails(wanted), Ok(_)) => Judgement::Failed {
                reason: format!("the host did not notice a {}", wanted.word()),
                console: console.to_vec(),
            },
            (_, Err((failure, detail))) => Judgement::Failed {
                reason: found(failure, &detail),
                console: console.to_vec(),
            },
        };
        self.outcome
    }
}

/// Why a machine is lost: out of time, or gone with or without last words.
fn failure_of(machine: &Machine, out_of_time: bool) -> Failure {
    let panicked = machine
        .console()
        .iter()
        .any(|line| line.contains("Kernel panic - not syncing") || line.contains("Oops:"));
    match (panicked, out_of_time) {
        (true, _) => Failure::Panic,
        (false, true) => Failure::Hang,
        (false, false) => Failure::Gone,
    }
}

fn tail(console: &[String]) -> Vec<String> {
    console[console.len().saturating_sub(TAIL)..].to_vec()
}
