//! One process per scenario: a body that crashes or hangs ends itself only.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context as _, Result};

use crate::checks::send;
use crate::report::{Event, Verdict};
use crate::scenario::{Privileges, Scenario};

/// The first argument of this program when it is to run one body; the second
/// is the scenario's name. The report port is its standard input.
pub const WORKER: &str = "--body";

/// The ordinary user whom [`Privileges::User`] means.
const USER: u32 = 1000;

/// Runs `scenario` in a process of its own, and reports for it when it ends
/// without a verdict.
///
/// # Errors
/// When the process can't be started.
pub(super) fn run(scenario: &Scenario, port: &mut File) -> Result<()> {
    send(
        port,
        &Event::Start {
            scenario: scenario.name.into(),
        },
    );
    let status = match start(scenario, port) {
        Ok(mut child) => child.wait().context("waiting for the body's process")?,
        Err(error) => {
            end(port, scenario, format!("{error:#}"));
            return Ok(());
        }
    };
    if !status.success() {
        end(port, scenario, ending(status));
    }
    Ok(())
}

/// Gives the console to a shell until it ends.
pub(super) fn shell() -> Result<()> {
    println!("The lab's machine. `load 'vivid n_devs=2'` loads a module, `exit` switches it off.");
    std::io::stdout().flush()?;
    Command::new("/bin/busybox")
        .arg("sh")
        .env("PATH", "/bin")
        .env("HOME", "/")
        .status()
        .context("starting the shell")?;
    Ok(())
}

fn start(scenario: &Scenario, port: &File) -> Result<Child> {
    prepare(scenario)?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args([WORKER, scenario.name])
        .stdin(port.try_clone().context("the report port")?);
    if scenario.needs.privileges == Privileges::User {
        command.uid(USER).gid(USER);
    }
    command.spawn().context("starting the body's process")
}

fn prepare(scenario: &Scenario) -> Result<()> {
    for module in scenario.needs.modules {
        super::load(module)?;
    }
    if scenario.needs.kvm {
        super::load(crate::nested::KVM)?;
    }
    if scenario.needs.huge_pages > 0 {
        let pages = scenario.needs.huge_pages.to_string();
        std::fs::write("/proc/sys/vm/nr_hugepages", pages).context("reserving huge pages")?;
    }
    Ok(())
}

fn end(port: &mut File, scenario: &Scenario, reason: String) {
    send(
        port,
        &Event::End {
            scenario: scenario.name.into(),
            verdict: Verdict::Crashed { reason },
        },
    );
}

fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("the body's process died of signal {signal}"),
        None => format!("the body's process ended without a verdict: {status}"),
    }
}
