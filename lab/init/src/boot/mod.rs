//! What process 1 does: mounts, modules, the report port, one process per
//! scenario, power-off.

mod modules;
mod mounts;
mod port;
mod power;
mod supervise;

pub use modules::{LOAD, load, unload};
pub use mounts::mount_share;
pub use port::open as open_port;
pub use power::{Restart, restart};
pub use supervise::WORKER;

use std::fs::File;

use anyhow::{Context as _, Result};

use crate::checks::send;
use crate::report::{Event, NEST_WORD, RUN_WORD, SHELL_WORD};
use crate::scenario::Scenario;
use crate::scenarios;

/// What the report port needs where it is not built into the kernel.
pub const PORT_MODULES: [&str; 2] = ["virtio-pci", "virtio-console"];

/// Runs the machine from the first mount to power-off. Never returns.
pub fn run() -> ! {
    if let Err(error) = live() {
        eprintln!("lab: init: {error:#}");
    }
    power::off()
}

fn live() -> Result<()> {
    mounts::mount_kernel_filesystems()?;
    let command_line = std::fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    if command_line
        .split_whitespace()
        .any(|word| word == SHELL_WORD)
    {
        return supervise::shell();
    }
    for module in PORT_MODULES {
        load(module)?;
    }
    let mut port = open_port(crate::report::PORT)?;
    send(&mut port, &boot_event());
    for scenario in named(&command_line, RUN_WORD) {
        run_one(scenario, &mut port);
    }
    let nested: Vec<_> = named(&command_line, NEST_WORD).collect();
    if !nested.is_empty() {
        crate::nested::run(&nested, &mut port)?;
    }
    send(&mut port, &Event::Done);
    Ok(())
}

fn run_one(scenario: &Scenario, port: &mut File) {
    if let Err(error) = supervise::run(scenario, port) {
        eprintln!("lab: {}: {error:#}", scenario.name);
    }
}

fn named<'a>(command_line: &'a str, word: &'a str) -> impl Iterator<Item = &'static Scenario> + 'a {
    words(command_line, word).filter_map(|name| {
        let scenario = scenarios::find(name);
        if scenario.is_none() {
            eprintln!("lab: no scenario is called {name}");
        }
        scenario
    })
}

fn words<'a>(command_line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    command_line
        .split_whitespace()
        .filter_map(move |found| found.strip_prefix(word))
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
}

fn boot_event() -> Event {
    Event::Boot {
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        uptime_ms: uptime_ms(),
    }
}

fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::words;
    use crate::report::RUN_WORD;

    #[test]
    fn names_come_from_their_word_only() {
        let line = "quiet landbridge.run=a,b panic=-1 landbridge.run=c,";
        assert_eq!(words(line, RUN_WORD).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(words("quiet", RUN_WORD).count(), 0);
    }
}
