//! A hostile driver in a VM, through a stock QEMU: it drives the device from a
//! program, plays the table of attacks, resets it while QEMU maps, and breaks rings
//! and memory beyond that.
//! QEMU, the daemon and a second GPU go on, and the stock driver comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use landbridge_hostile::commands::{
    assign_uuid, attach, create_2d, flush, host_blob, map, set_scanout, show, transfer, unmap,
    unref,
};
use landbridge_hostile::layout::{DATA, HOLE, RAM_END, TABLE, WINDOW};
use landbridge_hostile::{Attack, Request, Row, Seen, Then, judge};
use landbridge_protocol_gpu::{CONTROL_QUEUE, CURSOR_QUEUE, Command, Features, Rect};
use landbridge_transport::guest::malformed::{self, Place};
use landbridge_transport::guest::{Descriptor, PAGE};

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{
    DESK, HOSTILE_GPU, LEAKS, ONE_GPU, PORT, SECOND_GPU, SERVE_HOSTILE, serving,
};
use crate::naked::Naked;
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::virtgpu::{Card, Flips};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_hostile_driver_gets_exact_answers",
    claim: "a hostile driver gets exact answers; QEMU, the daemon and another GPU go on",
    storey: Storey::Guest,
    needs: Needs {
        devices: &[PORT, HOSTILE_GPU, SECOND_GPU],
        beside: &[serving(SERVE_HOSTILE), DESK],
        alone: true,
        ..ONE_GPU
    },
    limit: Duration::from_secs(240),
    expect: Expect::Passes,
    body,
};

/// How often the table is played.
const SHORT: u32 = 1;
const LONG: u32 = 10;

/// How long nothing must come back for a queue to count as broken.
const SILENCE: Duration = Duration::from_millis(150);

fn body(checks: &mut Checks) -> Result<()> {
    checks.excuse(LEAKS);
    let mut desk = Desk::open()?;
    let bystander = Arc::new(Card::open(1)?);
    let start = (desk.daemon()?, desk.vmm()?);
    let flips = Flips::start(Arc::clone(&bystander))?;
    let mut device = Naked::take(first()?.virtio())?;
    resets_in_mid_map(checks, &mut device)?;
    for round in 0..checks.rounds(SHORT, LONG) {
        table(checks, &mut device, round)?;
        checks.equal("frames go on meanwhile", &flips.go_on(), &true);
        malformed_chains(checks, &mut device)?;
        broken_rings(checks, &mut device)?;
        checks.equal("frames go on all the same", &flips.go_on(), &true);
    }
    device.give_back()?;
    let left = desk.status_when(|it| it["devices"][0]["maps"] == 0)?;
    checks.equal("no map is left", &left["devices"][0]["maps"], &0.into());
    stock_driver_shows(checks, &mut desk)?;
    let picture = flips.end()?;
    let difference = desk.difference(1, 0, picture)?;
    checks.equal("the other GPU shows its picture", &difference, &None);
    drop(bystander);
    let end = (desk.daemon()?, desk.vmm()?);
    checks.equal("QEMU lives", &end.1.pid, &start.1.pid);
    checks.equal("the daemon lives", &end.0.pid, &start.0.pid);
    end.0.check_descriptors(checks, "the daemon", start.0);
    end.1.check_descriptors(checks, "QEMU", start.1);
    Ok(())
}

/// The first GPU's card. It is the first once the second is there as well.
fn first() -> Result<Card> {
    drop(Card::open(1)?);
    Ok(Card::open(0)?)
}

/// Plays the table. After each row a healthy guest is served, at once or after a
/// reset.
fn table(checks: &mut Checks, device: &mut Naked, round: u32) -> Result<()> {
    let rows = landbridge_hostile::all();
    let began = Instant::now();
    let mut wrong = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if let Err(error) = turn(device, row, (index as u32 + round) as u8) {
            wrong.push(format!("{}: {error:#}", row.name));
        }
        ensure!(wrong.len() < 20, "{}", wrong.join("\n"));
    }
    checks.note(format!(
        "{} rows in {} ms",
        rows.len(),
        began.elapsed().as_millis()
    ));
    checks.equal("every row gets its answer", &wrong, &Vec::new());
    Ok(())
}

fn turn(device: &mut Naked, row: &Row, seed: u8) -> Result<()> {
    device.start(row.features.bits())?;
    for (number, request) in row.before.iter().enumerate() {
        send(device, request).with_context(|| format!("before, {number}"))?;
    }
    match &row.attack {
        Attack::Request(request) => send(device, request)?,
        Attack::Chain {
            memory,
            chain,
            answer,
            expect,
        } => {
            for (at, bytes) in memory {
                device.write(*at, bytes);
            }
            let written = device.push(CONTROL_QUEUE, chain)?;
            let seen = judge(&device.read(*answer, written as usize))?;
            ensure!(seen == *expect, "{seen:x?} came back, not {expect:x?}");
        }
    }
    if row.then == Then::Reset || row.features != Features::all() {
        device.start(Features::all().bits())?;
    }
    healthy(device, seed).context("a healthy guest")
}

fn send(device: &mut Naked, request: &Request) -> Result<()> {
    request.check(&device.talk(request.queue, &request.bytes, request.room)?)
}

fn ok(device: &mut Naked, command: &Command<'_>) -> Result<()> {
    send(device, &Request::ok(command)).with_context(|| format!("{:?}", command.kind()))
}

/// Ids and a place that no attack uses.
const BLOB: u32 = 0xa11e_0001;
const FLAT: u32 = 0xa11e_0002;
const SIDE: u32 = 32;
const AT: u64 = WINDOW - PAGE;

/// A blob from its creation to its end, and a 2D resource.
fn healthy(device: &mut Naked, seed: u8) -> Result<()> {
    let whole = Rect::of_size(SIDE, SIDE);
    ok(device, &host_blob(BLOB, PAGE))?;
    ok(device, &map(BLOB, AT))?;
    let place = AT as usize;
    for (at, byte) in [(place, seed), (place + PAGE as usize - 1, !seed)] {
        ensure!(device.window()?.get(at) == 0, "a new blob shows old bytes");
        device.window()?.set(at, byte);
        ensure!(device.window()?.get(at) == byte, "the blob's bytes");
    }
    for command in [
        assign_uuid(BLOB),
        show(1, BLOB, SIDE, SIDE),
        flush(BLOB, whole),
        unmap(BLOB),
        unref(BLOB),
        create_2d(FLAT, SIDE, SIDE),
        attach(FLAT, &[(DATA, PAGE as u32)]),
        transfer(FLAT, whole, 0),
        set_scanout(1, FLAT, whole),
        flush(FLAT, whole),
        unref(FLAT),
    ] {
        ok(device, &command)?;
    }
    Ok(())
}

/// Chains that no device may take, while a blob is mapped, which QEMU drops
/// afterwards.
fn malformed_chains(checks: &mut Checks, device: &mut Naked) -> Result<()> {
    let place = Place {
        data: DATA,
        tables: TABLE,
        hole: RAM_END - 8,
        end: RAM_END,
    };
    let mut written = Vec::new();
    for seed in 0..3 {
        device.start(Features::all().bits())?;
        for (at, descriptor) in malformed::tables(place) {
            device.write(TABLE + at, &descriptor.to_bytes());
        }
        ok(device, &host_blob(1, PAGE))?;
        ok(device, &map(1, 0))?;
        device.window()?.set(0, seed + 1);
        for (name, chain) in malformed::chains(place) {
            for queue in [CONTROL_QUEUE, CURSOR_QUEUE] {
                let bytes = device.push(queue, &chain).context(name)?;
                written.extend((bytes != 0).then_some((name, queue, bytes)));
            }
        }
        let kept = device.window()?.get(0);
        checks.equal("the blob keeps its byte", &kept, &(seed + 1));
        healthy(device, seed)?;
    }
    checks.equal("malformed chains come back empty", &written, &Vec::new());
    Ok(())
}

/// What can be done to rings: an index that is out of range, heads out of range,
/// rings that are no memory or not aligned.
fn broken_rings(checks: &mut Checks, device: &mut Naked) -> Result<()> {
    let features = Features::all().bits();
    for head in [256_u16, 0x7fff, 0xffff] {
        device.start(features)?;
        device.push_head(CONTROL_QUEUE, head);
        healthy(device, 1).with_context(|| format!("head {head}"))?;
    }
    for count in [257_u16, u16::MAX] {
        device.start(features)?;
        ok(device, &host_blob(1, PAGE))?;
        ok(device, &map(1, 0))?;
        device.advance(CONTROL_QUEUE, count);
        checks.equal(
            &format!("an index {count} too far breaks the queue"),
            &answered(device),
            &false,
        );
    }
    for part in 0..3 {
        for address in [HOLE, RAM_END - 8, u64::MAX - 4095, 1 << 60, DATA + 1] {
            let mut parts = device.fresh_queues();
            parts[CONTROL_QUEUE][part] = address;
            device.start_with(features, parts)?;
            checks.equal(
                &format!("part {part} of a queue at {address:#x}: no answer"),
                &answered(device),
                &false,
            );
        }
    }
    device.start(features)?;
    healthy(device, 2).context("after all that")?;
    let seen = judge(&device.talk(CONTROL_QUEUE, &[0xff; 24], 64)?)?;
    checks.holds(
        "nonsense is refused",
        matches!(seen, Seen::Answer(code) if code >= 0x1200),
        format!("{seen:x?}"),
    );
    Ok(())
}

/// How often the device is reset while a blob is being mapped.
const RESETS: u32 = 100;
const MANY_RESETS: u32 = 2000;

/// Resets while QEMU is asked for a map: it may read the request after it has
/// stopped the device.
fn resets_in_mid_map(checks: &mut Checks, device: &mut Naked) -> Result<()> {
    let features = Features::all().bits();
    let request = Request::ok(&map(1, 0));
    let chain = [
        Descriptor::readable(DATA, request.bytes.len() as u32).then(1),
        Descriptor::writable(ROOM, request.room as u32),
    ];
    let began = Instant::now();
    let resets = checks.rounds(RESETS, MANY_RESETS);
    for round in 0..resets {
        device.start(features)?;
        ok(device, &host_blob(1, PAGE)).with_context(|| format!("reset {round}"))?;
        device.write(DATA, &request.bytes);
        device.submit(CONTROL_QUEUE, &chain);
        // From before the device asks QEMU until after its answer.
        let until = Instant::now() + Duration::from_micros(u64::from(round % 20) * 100);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        device.reset()?;
    }
    device.start(features)?;
    healthy(device, 9).context("after resets while a map was under way")?;
    checks.note(format!(
        "{resets} resets in {} ms",
        began.elapsed().as_millis()
    ));
    Ok(())
}

/// Whether the control queue answers.
fn answered(device: &mut Naked) -> bool {
    let request = Descriptor::readable(DATA, 24).then(1);
    let chain = [request, Descriptor::writable(ROOM, 24)];
    device.push_for(CONTROL_QUEUE, &chain, SILENCE).is_some()
}

/// Where answers go that nobody reads.
const ROOM: u64 = DATA + PAGE;

/// The stock driver has the device again.
fn stock_driver_shows(checks: &mut Checks, desk: &mut Desk) -> Result<()> {
    let card = first()?;
    let screen = card.screen(0)?;
    let (framebuffer, picture) = card.dumb_picture(&screen, 3)?;
    card.set(&screen, framebuffer)?;
    let difference = desk.difference(0, 0, picture)?;
    checks.equal("the stock driver shows a picture", &difference, &None);
    Ok(())
}
