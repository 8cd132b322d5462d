//! Memory that moves from one NUMA node to another and back under a writer. Where
//! its pages are, the page table tells, read from outside the machine.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK_ALONE, PORT, QMP};
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};
use crate::sys::memory::PAGE;
use crate::truth::Truth;

/// A huge page.
const SIZE: usize = 2 << 20;
const LONG: Duration = Duration::from_secs(10);
/// How /proc/self/maps names the buffer, dma-buf or not.
const NAME: &str = "between-nodes";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "memory_moves_between_nodes",
    claim: "a buffer moves from NUMA node 0 to 1 and back in every kind of memory that has a choice, no write is lost, and its pages are where they were sent",
    storey: Storey::Host,
    needs: Needs {
        // Every second one is of the other node.
        huge_pages: 4,
        devices: &[Device::TWO_NODES, PORT, QMP],
        beside: &[DESK_ALONE],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let exchange = Exchange::new();
    let tenant = Tenant::new("lab", Limits::NONE);
    let model = MemoryModel::Movable { pinnable: true };
    let memory = HostMemory::allocate(NAME, SIZE as u64, Kind::Memfd.on_node(0))?;
    let buffer = exchange.publish(memory.of_model(model), &tenant)?;
    let attach = |name| CpuImport::attach(&buffer, name, Direction::ReadWrite, &tenant);
    let (writer, reader) = (attach("writer")?, attach("reader")?);
    let mut finder = Finder {
        reader: &reader,
        zones: zones()?,
        truth: Truth::open()?,
        desk: Desk::open()?,
    };
    checks.equal("it begins on node 0", &finder.nodes()?, &vec![0]);

    let stop = AtomicBool::new(false);
    let rounds = thread::scope(|scope| -> Result<u64> {
        let counting = scope.spawn(|| count(&writer, &stop));
        let moved = moves(checks, &buffer, &mut finder);
        stop.store(true, Ordering::Relaxed);
        let rounds = counting.join().map_err(|_| anyhow!("a thread panicked"))?;
        moved?;
        rounds
    })?;
    let counts = counts(&reader)?;
    let wrong = counts.iter().filter(|count| **count != rounds).count();
    checks.holds(
        "every increment is there",
        rounds > 0 && wrong == 0,
        format!("{rounds} rounds, {wrong} of {} pages differ", counts.len()),
    );
    let refused = buffer.relocate(Kind::Memfd.on_node(2), LONG);
    let want = "NUMA node 2 has no memory for this process";
    checks.refused("a node that is not there is refused", refused, want);
    let refused = buffer.relocate(Kind::SystemHeap.on_node(1), LONG);
    checks.refused("so is a heap of a node", refused, "which NUMA node");
    checks.equal("it stays", &finder.nodes()?, &vec![0]);
    Ok(())
}

fn moves(checks: &mut Checks, buffer: &Buffer, finder: &mut Finder<'_>) -> Result<()> {
    for kind in [Kind::Memfd, Kind::Udmabuf, Kind::HugePages] {
        for node in [1, 0] {
            let place = kind.on_node(node);
            let moved = buffer.relocate(place, LONG)?;
            checks.equal("it says where it is", &moved.to, &place.to_string());
            let what = format!("from {} to {}: its pages are there", moved.from, moved.to);
            checks.equal(&what, &finder.nodes()?, &vec![node]);
            checks.note(format!(
                "{place}: {} KiB in {:?}",
                SIZE >> 10,
                moved.blackout
            ));
        }
    }
    Ok(())
}

/// Adds one to the first word of every page until told to stop. Returns how often.
fn count(writer: &CpuImport, stop: &AtomicBool) -> Result<u64> {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let access = writer.access(Direction::ReadWrite, LONG)?;
        for at in (0..SIZE).step_by(PAGE) {
            let word: u64 = access.view().read_at(at)?;
            access.view().write_at(at, word + 1)?;
        }
        access.end()?;
        rounds += 1;
    }
    Ok(rounds)
}

fn counts(reader: &CpuImport) -> Result<Vec<u64>> {
    let access = reader.access(Direction::Read, LONG)?;
    let words = (0..SIZE).step_by(PAGE);
    let counts = words
        .map(|at| access.view().read_at(at))
        .collect::<Result<_, _>>()?;
    access.end()?;
    Ok(counts)
}

/// Looks where the buffer is.
struct Finder<'a> {
    reader: &'a CpuImport,
    zones: Vec<Zone>,
    truth: Truth,
    desk: Desk,
}

impl Finder<'_> {
    /// The nodes of the buffer's pages, each once, by the page table of who reads
    /// it: pages evenly spread over each of its mappings here.
    fn nodes(&mut self) -> Result<Vec<u32>> {
        // In the page table is what was touched, and nothing moves meanwhile.
        let access = self.reader.access(Direction::Read, LONG)?;
        for at in (0..SIZE).step_by(PAGE) {
            access.view().read_at::<u8>(at)?;
        }
        let maps = fs::read_to_string("/proc/self/maps")?;
        let mut nodes = Vec::new();
        for line in maps.lines().filter(|line| line.contains(NAME)) {
            let (from, to) = range(line).with_context(|| line.to_owned())?;
            let len = usize::try_from(to - from)?;
            for frame in self.truth.frames(&mut self.desk, from, len)? {
                let zone = self.zones.iter().find(|zone| zone.has(frame));
                let zone = zone.with_context(|| format!("no zone has frame {frame:#x}"))?;
                nodes.push(zone.node);
            }
        }
        access.end()?;
        nodes.sort_unstable();
        nodes.dedup();
        Ok(nodes)
    }
}

/// The addresses of a line of /proc/self/maps.
fn range(line: &str) -> Option<(u64, u64)> {
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    let parse = |text| u64::from_str_radix(text, 16).ok();
    Some((parse(from)?, parse(to)?))
}

/// Page frames that belong to a node.
#[derive(Debug)]
struct Zone {
    node: u32,
    start: u64,
    frames: u64,
}

impl Zone {
    fn has(&self, frame: u64) -> bool {
        (self.start..self.start + self.frames).contains(&frame)
    }
}

/// What /proc/zoneinfo says.
fn zones() -> Result<Vec<Zone>> {
    let text = fs::read_to_string("/proc/zoneinfo")?;
    let (mut zones, mut node, mut frames) = (Vec::new(), None, None);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Node", number, "zone", _] => node = number.trim_end_matches(',').parse().ok(),
            ["spanned", number] => frames = number.parse().ok(),
            ["start_pfn:", number] => zones.push(Zone {
                node: node.context("a zone without a node")?,
                start: number.parse()?,
                frames: frames.context("a zone without frames")?,
            }),
            _ => {}
        }
    }
    Ok(zones)
}
