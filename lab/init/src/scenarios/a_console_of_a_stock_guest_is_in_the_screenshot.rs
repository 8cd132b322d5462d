//! What README promises: a Linux console on our device, and a screenshot that
//! shows it. The machine has the arguments that `landbridge serve
//! --print-qemu-args` prints (another scenario compares them); nothing in the
//! guest is ours but the text.

use std::fs::{read_to_string, write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::checks::Checks;
use crate::console::Console;
use crate::desk::machine::{GPU, ONE_GPU, PORT};
use crate::desk::{CONTROL, Desk};
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_console_of_a_stock_guest_is_in_the_screenshot",
    claim: "a stock guest's console is on our device; the text can be read in the screenshot",
    storey: Storey::Guest,
    needs: Needs {
        devices: &[PORT, GPU, Device::CONSOLE],
        ..ONE_GPU
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

/// How long the console may take to draw.
const PATIENCE: Duration = Duration::from_secs(8);

const PROGRAM: &str = "Hello from a program: {[(<#@!$%^&*?>)]} 0123456789";
const KERNEL: &str = "landbridge lab: hello from the kernel";

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    // Clears the screen and hides the cursor, which is no text.
    let console = Console::open("/dev/tty1")?;
    console.write("\x1bc\x1b[?25l")?;
    console.write(&format!("\n  {PROGRAM}\n\n\n"))?;
    // Level 3 (KERN_ERR) passes the lab's loglevel.
    write("/dev/kmsg", format!("<3>{KERNEL}\n"))?;
    let buffers = read_to_string("/proc/fb")?;
    checks.holds(
        "the guest's console is on the driver's framebuffer",
        buffers.contains("virtio_gpu"),
        buffers.trim(),
    );
    let lines = read(checks, &mut desk, &console)?;
    let found = |text: &str| lines.iter().position(|line| line.contains(text));
    checks.equal(
        "a program's text is where it was written",
        &lines.get(1).map(String::as_str),
        &Some(format!("  {PROGRAM}").as_str()),
    );
    checks.holds(
        "the kernel's message is there",
        found(KERNEL) > Some(1),
        lines.join("\n").trim(),
    );
    console.write("\x1bc\x1b[?25l")?;
    let gone = settle(&mut desk, &console, |lines| {
        lines.iter().all(String::is_empty)
    })?;
    checks.equal("a cleared screen is empty", &gone.concat(), &String::new());
    console.write("\x1b[?25h")?;
    Ok(())
}

/// The text on the screen once the kernel's message is on it, after the
/// command that a user types.
fn read(checks: &mut Checks, desk: &mut Desk, console: &Console) -> Result<Vec<String>> {
    let lines = settle(desk, console, |lines| {
        lines.iter().any(|line| line.contains(KERNEL))
    })?;
    let ran = desk.run(&["screenshot", "{run}/console.png", "--control", CONTROL])?;
    checks.equal("the screenshot is written", &ran.status, &Some(0));
    checks.equal(
        "without a word",
        &(ran.printed + &ran.complaints),
        &String::new(),
    );
    Ok(lines)
}

/// The lines on the screen as soon as they are `so`; the last ones seen in any
/// case.
fn settle(
    desk: &mut Desk,
    console: &Console,
    so: impl Fn(&[String]) -> bool,
) -> Result<Vec<String>> {
    let start = Instant::now();
    let font = console.font().context("the console's font")?;
    loop {
        let lines = font.read(&desk.screenshot(0, 0)?);
        if so(&lines) || start.elapsed() > PATIENCE {
            return Ok(lines);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
