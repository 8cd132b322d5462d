//! The guest inside the emulated machine: what the host packs for it, where it
//! lies, and how its events get out.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::boot;
use crate::checks::send;
use crate::report::{Event, Verdict};
use crate::scenario::{Beside, Scenario};

/// Where the emulated machine finds the unpacked QEMU.
pub const QEMU: &str = "/share/qemu";
/// The tag under which QEMU's tree is shared.
pub const QEMU_TAG: &str = "qemu";
/// Where the emulated machine finds the folder with the kernel.
pub const KERNEL: &str = "/share/kernel";
/// The tag under which that folder is shared.
pub const KERNEL_TAG: &str = "kernel";
/// The guest's initramfs.
pub const INITRAMFS: &str = "/guest/initramfs";
/// How the guest is started: a [`Guest`] as JSON.
pub const GUEST: &str = "/guest/command";
/// The folder for sockets.
pub const RUN: &str = "/run";

/// The module with which the emulated machine has KVM.
pub const KVM: &str = "kvm-amd";
/// Modules of the emulated machine that guests run in.
pub const MODULES: [&str; 3] = [KVM, "9pnet_virtio", "9p"];

/// How often a guest that dies before its init is started.
const BOOTS: usize = 4;

/// How the guest's QEMU is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Guest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// Boots the guest and passes its events on. It runs `scenarios` itself.
///
/// # Errors
/// When the guest can't be started, or never boots.
pub(crate) fn run(scenarios: &[&Scenario], port: &mut File) -> Result<()> {
    let own = scenarios.iter().flat_map(|it| it.needs.host.modules);
    for module in MODULES.iter().chain(own) {
        boot::load(module)?;
    }
    boot::mount_share(QEMU_TAG, QEMU)?;
    boot::mount_share(KERNEL_TAG, KERNEL)?;
    let guest: Guest = serde_json::from_slice(&std::fs::read(GUEST)?)?;
    let _beside = start_beside(scenarios)?;
    for boot in 1..=BOOTS {
        let (mut child, report) = start(&guest)?;
        let life = relay(report, port);
        let _ = child.kill();
        let _ = child.wait();
        match life {
            Life::Done => return Ok(()),
            Life::Died(scenario) => {
                send(port, &crashed(&scenario));
                return Ok(());
            }
            Life::NeverBooted if boot < BOOTS => {
                println!("lab: the guest did not boot; trying again")
            }
            Life::NeverBooted => {}
        }
    }
    bail!("the guest did not boot in {BOOTS} tries")
}

enum Life {
    Done,
    Died(String),
    NeverBooted,
}

fn start(guest: &Guest) -> Result<(Child, UnixStream)> {
    let (report, far) = UnixStream::pair()?;
    let (program, arguments) = guest
        .command
        .split_first()
        .context("no command for the guest")?;
    let child = Command::new(program)
        .args(arguments)
        .envs(guest.environment.iter().map(|(name, value)| (name, value)))
        .stdin(OwnedFd::from(far))
        .stdout(console()?)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    Ok((child, report))
}

/// A socket whose lines go to our own console, marked as the guest's.
fn console() -> Result<OwnedFd> {
    let (near, far) = UnixStream::pair()?;
    std::thread::spawn(move || {
        for line in BufReader::new(near).split(b'\n').map_while(Result::ok) {
            println!("guest: {}", String::from_utf8_lossy(&line).trim_end());
        }
    });
    Ok(far.into())
}

fn relay(report: UnixStream, port: &mut File) -> Life {
    let mut running: Option<String> = None;
    let mut booted = false;
    for line in BufReader::new(report).lines().map_while(Result::ok) {
        let Ok(event) = serde_json::from_str::<Event>(&line) else {
            continue;
        };
        match &event {
            Event::Boot { .. } => booted = true,
            Event::Start { scenario } => running = Some(scenario.clone()),
            Event::End { .. } => running = None,
            Event::Done => return Life::Done,
            _ => {}
        }
        send(port, &event);
    }
    match running {
        Some(scenario) => Life::Died(scenario),
        None if booted => Life::Done,
        None => Life::NeverBooted,
    }
}

fn crashed(scenario: &str) -> Event {
    Event::End {
        scenario: scenario.into(),
        verdict: Verdict::Crashed {
            reason: "the guest died".into(),
        },
    }
}

fn start_beside(scenarios: &[&Scenario]) -> Result<Vec<Child>> {
    let programs = scenarios.iter().flat_map(|scenario| scenario.needs.beside);
    programs.map(start_one).collect()
}

fn start_one(beside: &Beside) -> Result<Child> {
    let at = |text: &str| text.replace("{run}", RUN);
    let mut child = Command::new(format!("/bin/{}", beside.program))
        .args(beside.args.iter().map(|argument| at(argument)))
        .spawn()
        .with_context(|| format!("starting {}", beside.program))?;
    let start = Instant::now();
    while !std::path::Path::new(&at(beside.ready)).exists() {
        if child.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(20) {
            bail!("{} did not get ready", beside.program);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child)
}
