//! An operator takes the memory of a blob away while a guest's program has it
//! mapped: the program reads zeros, writes where nobody sees it, and finds its
//! bytes again when they are back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::machine::ONE_GPU;
use crate::desk::{CONTROL, Desk};
use crate::scenario::{Expect, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, Card};

/// Of no other blob here.
const SIZE: u64 = 3 * PAGE as u64;
const LIMIT: Duration = Duration::from_secs(5);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_guest_finds_zeroes_where_memory_was_taken_away",
    claim: "a mapped blob whose memory is revoked reads as zeros, what the guest writes there reaches nobody, what others write does not reach it, and restored it has its bytes",
    storey: Storey::Guest,
    needs: ONE_GPU,
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    taken_away(checks, &mut desk, &card, |desk| {
        // Where the memory is, whoever has it writes to it.
        desk.write_blob(SIZE, 1, &[0xe7])
    })
}

/// The same for any machine with a desk and a card. `behind` writes 0xe7 to byte 1
/// of the memory itself, past everybody.
pub(super) fn taken_away(
    checks: &mut Checks,
    desk: &mut Desk,
    card: &Card,
    behind: impl FnOnce(&mut Desk) -> Result<()>,
) -> Result<()> {
    let made = card.blob(Blob::of_the_host(SIZE))?;
    let memory = card.map(made)?;
    write(&memory, 0x5a);
    let buffer = buffer_of(&desk.status()?, made.resource)?;
    let before = charged(&desk.status()?);

    operate(desk, "revoke", &buffer)?;
    let (first, took) = wait_for(&memory, 0)?;
    checks.note(format!(
        "the first byte read after a revocation: {first:#x}; zeros after {} ms",
        took.as_millis()
    ));
    checks.equal("it reads zeros", &read(&memory), &vec![0; 3]);
    write(&memory, 0x77);
    checks.equal("and what it writes", &read(&memory), &vec![0x77; 3]);
    behind(desk)?;
    checks.equal("and nothing that others write", &memory.get(1), &0);
    let paid = desk.status_when(|status| charged(status) > before)?;
    checks.equal("zeros are paid for", &charged(&paid), &(before + SIZE));

    operate(desk, "restore", &buffer)?;
    wait_for(&memory, 0x5a)?;
    checks.equal("restored, it has its bytes", &read(&memory), &vec![0x5a; 3]);
    checks.equal("and what others wrote", &memory.get(1), &0xe7);
    checks.equal("and pays no more", &charged(&desk.status()?), &before);

    operate(desk, "revoke", &buffer)?;
    wait_for(&memory, 0)?;
    checks.equal(
        "taken again, it is zeros again",
        &read(&memory),
        &vec![0; 3],
    );
    drop(memory);
    card.close(made.handle)?;
    let after = before - SIZE;
    let status = desk.status_when(|status| charged(status) == after)?;
    checks.equal("and they go with the blob", &charged(&status), &after);
    Ok(())
}

fn write(memory: &Map, byte: u8) {
    for page in 0..memory.len() / PAGE {
        memory.set(page * PAGE, byte);
    }
}

fn read(memory: &Map) -> Vec<u8> {
    let pages = 0..memory.len() / PAGE;
    pages.map(|page| memory.get(page * PAGE)).collect()
}

/// Waits until the first byte is this; says what it was at first, and how long
/// that took.
fn wait_for(memory: &Map, byte: u8) -> Result<(u8, Duration)> {
    let (start, first) = (Instant::now(), memory.get(0));
    while memory.get(0) != byte {
        ensure!(start.elapsed() < LIMIT, "{:#x} stays there", memory.get(0));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((first, start.elapsed()))
}

fn operate(desk: &mut Desk, command: &str, buffer: &str) -> Result<()> {
    let ran = desk.run(&[command, buffer, "--control", CONTROL])?;
    ensure!(ran.status == Some(0), "{command}: {}", ran.complaints);
    Ok(())
}

/// The number of the buffer that a resource of device 0 is.
fn buffer_of(status: &Value, resource: u32) -> Result<String> {
    let resources = status["devices"][0]["resources"].as_array();
    let mut resources = resources.into_iter().flatten();
    let found = resources.find(|it| it["id"] == resource);
    Ok(found.context("no such resource")?["buffer"].to_string())
}

/// How many bytes the guest's tenant pays for.
fn charged(status: &Value) -> u64 {
    let charges = status["guests"][0]["charges"].as_array();
    let mut charges = charges.into_iter().flatten();
    let bytes = charges.find(|it| it["of"] == "bytes");
    bytes.and_then(|it| it["used"].as_u64()).unwrap_or_default()
}
