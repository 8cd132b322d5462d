//! A hostile guest, over the very vhost-user road that a VMM takes.
//!
//! One table: each row sends what broke another device, and must get the exact
//! answer. After each row the device serves a healthy guest, pixels checked,
//! and after the reset that follows nothing is left of the row: no buffer, no
//! UUID, no charge, no mapping, no descriptor, no thread. The whole table runs
//! many times, so that memory that grows shows.
//!
//! Every answer is judged beyond its code: whole, no byte written past what the
//! device says, reserved fields zero, no map info on failure.

mod account;
mod healthy;
mod machine;
mod row;
mod rows;

use anyhow::{Context, Result, ensure};
use landbridge_protocol_gpu::Features;

use account::{Account, resident};
use machine::Machine;
use peak_alloc::PeakAlloc;
use row::{Row, Then};

/// How often the table runs, unless `HOSTILE_PASSES` says otherwise: often
/// enough for a byte that is kept by each pass to be told from warming up.
const PASSES: usize = 6;
/// The pass after which nothing may grow any more.
const WARM: usize = 2;

/// How much the heap may grow in the passes after those, in bytes: less than
/// one byte for each row that is played.
const HEAP_GROWTH: usize = 4 << 10;

/// How much resident memory may grow, in bytes. The C library keeps what was
/// freed, in an arena for each of many threads, so that this finds only what
/// the heap's count and the count of mappings don't see.
const RESIDENT_GROWTH: u64 = 48 << 20;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn whatever_a_hostile_guest_sends_is_answered_rightly_and_leaves_nothing() {
    let table = rows::all();
    let mut failures = Vec::new();
    let mut machine = Machine::start().unwrap();
    let mut warm = None;
    for pass in 0..passes() {
        let start = std::time::Instant::now();
        machine
            .connect(Features::all(), pass.is_multiple_of(2))
            .unwrap();
        healthy::round(&machine, pass as u8).unwrap();
        for (index, row) in table.iter().enumerate() {
            if row.once && pass > 0 {
                continue;
            }
            let turn = Turn { pass, index };
            if let Err(error) = turn.play(&mut machine, row) {
                failures.push(format!("pass {pass}, {}: {error:#}", row.name));
                machine = Machine::start().unwrap();
                machine
                    .connect(Features::all(), pass.is_multiple_of(2))
                    .unwrap();
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        let memory = Memory::now();
        println!("pass {pass}: {:?}, {memory:?}", start.elapsed());
        if pass == WARM {
            warm = Some(memory);
        }
        if let Some(warm) = warm {
            memory.check(warm);
        }
    }
    println!("{} rows", table.len());
}

fn passes() -> usize {
    let asked = std::env::var("HOSTILE_PASSES");
    asked.map_or(PASSES, |passes| passes.parse().expect("HOSTILE_PASSES"))
}

/// How much memory the process uses, in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    heap: usize,
    resident: u64,
}

impl Memory {
    fn now() -> Self {
        Self {
            heap: HEAP.current_usage(),
            resident: resident().unwrap(),
        }
    }

    fn check(self, warm: Self) {
        assert!(
            self.heap <= warm.heap + HEAP_GROWTH
                && self.resident <= warm.resident + RESIDENT_GROWTH,
            "memory grew from {warm:?} to {self:?}"
        );
    }
}

/// One row's turn.
struct Turn {
    pass: usize,
    index: usize,
}

impl Turn {
    fn play(&self, machine: &mut Machine, row: &Row) -> Result<()> {
        let fancy = self.pass.is_multiple_of(2);
        let before = Account::take()?;
        if row.features != Features::all() {
            machine.connect(row.features, fancy)?;
        }
        let seen = (row.send)(machine)?;
        ensure!(
            seen == row.expect,
            "{seen:x?} came back, not {:x?}",
            row.expect
        );
        if row.features != Features::all() {
            machine.connect(Features::all(), fancy)?;
        } else if row.then == Then::GoOn {
            machine.check_window()?;
            self.healthy(machine).context("what the row left around")?;
        }
        self.reset(machine)?;
        machine.check_empty()?;
        self.healthy(machine).context("reset")?;
        machine.check_empty()?;
        // The device's worker starts when a command first has to wait.
        if self.pass > 0 {
            before.check()?;
        }
        Ok(())
    }

    fn healthy(&self, machine: &Machine) -> Result<()> {
        healthy::round(machine, self.index as u8).context("a healthy guest")
    }

    /// Both ways of a VMM, turn by turn.
    fn reset(&self, machine: &Machine) -> Result<()> {
        match (self.pass + self.index) % 2 {
            0 => Ok(machine.embedded().reset()?),
            _ => Ok(machine.embedded().rebind()?),
        }
    }
}
