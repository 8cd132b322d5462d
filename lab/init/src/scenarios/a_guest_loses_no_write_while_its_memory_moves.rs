//! Real KVM: a guest and a thread of its VMM count without pause in memory that
//! moves under them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use landbridge_dmabuf::Area;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::terms::MemoryModel;
use landbridge_exchange::{Buffer, Moved};
use landbridge_kvm::{KvmImport, SlotOptions};

use crate::checks::Checks;
use crate::kvm_guest::{COUNTERS, Guest, Host, Ran, STRIDE, Talk};
use crate::scenario::{Expect, Needs, Scenario, Storey};

const MIB: u64 = 1 << 20;
const KINDS: [Kind; 3] = [Kind::Memfd, Kind::Udmabuf, Kind::HugePages];
/// The guest counts in the first word of a page, the thread in this one.
const HOST_WORD: usize = 16;
const LIMIT: Duration = Duration::from_secs(30);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_guest_loses_no_write_while_its_memory_moves",
    claim: "a guest that counts without pause loses no increment while its memory moves between memfd, udmabuf and huge pages: 2 MiB 30 times, 64 MiB 3 times",
    storey: Storey::Host,
    needs: Needs {
        kvm: true,
        huge_pages: 34,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(120),
    expect: Expect::Passes,
    body: |checks| {
        count_through(checks, 2 * MIB, 30)?;
        count_through(checks, 64 * MIB, 3)
    },
};

/// Both are for long runs: the second takes ten minutes at least.
pub(super) const LONG: [Scenario; 2] = [
    Scenario {
        name: "a_guest_loses_no_write_in_a_thousand_moves",
        claim: "the same for 2 MiB in 1,000 moves",
        needs: BY_NAME,
        limit: Duration::from_secs(600),
        body: |checks| count_through(checks, 2 * MIB, 1000),
        ..SCENARIO
    },
    Scenario {
        name: "a_guest_loses_no_write_in_a_thousand_moves_of_64_mib",
        claim: "the same for 64 MiB in 1,000 moves",
        needs: BY_NAME,
        limit: Duration::from_secs(2 * 3600),
        body: |checks| count_through(checks, 64 * MIB, 1000),
        ..SCENARIO
    },
];

const BY_NAME: Needs = Needs {
    long: true,
    ..SCENARIO.needs
};

/// What a run of counting ends with.
struct Counted {
    moves: Vec<Moved>,
    ran: Ran,
    rounds: u32,
    by_thread: u32,
    reruns: u64,
}

fn count_through(checks: &mut Checks, size: u64, moves: usize) -> Result<()> {
    let host = Host::default();
    let model = MemoryModel::Movable { pinnable: true };
    let buffer = host.buffer(KINDS[0], size, model)?;
    let turns = (1..=moves).map(|turn| KINDS[turn % 3]);
    let counted = count(&host, &buffer, turns)?;
    checks.equal("every move was made", &counted.moves.len(), &moves);
    checks.holds("the guest counted", counted.rounds > 0, counted.rounds);
    for (what, at, want) in [
        ("the guest's increments", 0, counted.rounds),
        ("the thread's increments", HOST_WORD, counted.by_thread),
    ] {
        let words = host.words(&buffer, at)?;
        let wrong = words.iter().filter(|word| **word != want).count();
        let detail = format!("{wrong} of {} differ from {want}", words.len());
        checks.holds(&format!("{what} are all there"), wrong == 0, detail);
    }
    checks.equal("the guest met no hole", &counted.ran, &Ran::default());
    for from in ["memfd", "udmabuf", "huge pages"] {
        let mut ms: Vec<_> = counted
            .moves
            .iter()
            .filter(|moved| moved.from == from)
            .map(|moved| moved.blackout.as_millis())
            .collect();
        ms.sort_unstable();
        if let [least, .., most] = ms.as_slice() {
            let median = ms[ms.len() / 2];
            checks.note(format!(
                "{} moves of {} MiB away from {from}: blackout {least}, {median}, {most} ms (least, median, most)",
                ms.len(),
                size / MIB
            ));
        }
    }
    checks.note(format!(
        "{} rounds of the guest, {} of the thread, run again {} times",
        counted.rounds, counted.by_thread, counted.reruns
    ));
    Ok(())
}

/// Moves a buffer through `kinds` while a guest and a thread count in it.
fn count(host: &Host, buffer: &Buffer, kinds: impl Iterator<Item = Kind>) -> Result<Counted> {
    let mut guest = Guest::new(buffer.size())?;
    let (slots, talk) = (guest.slots(), guest.talk());
    let options = SlotOptions::default();
    let import = KvmImport::attach(&slots, buffer, COUNTERS, options, &host.tenant)?;
    let area = import.area().ok_or_else(|| anyhow!("no slot"))?;
    let stop = AtomicBool::new(false);
    let (ran, (moves, by_thread)) = guest.run_while(|talk| {
        thread::scope(|scope| {
            let counts = scope.spawn(|| count_in(&area, &stop));
            let moves = move_through(buffer, talk, kinds);
            stop.store(true, Ordering::Relaxed);
            let by_thread = counts.join().map_err(|_| anyhow!("a thread panicked"))?;
            Ok((moves?, by_thread?))
        })
    })?;
    Ok(Counted {
        moves,
        ran,
        rounds: talk.rounds()?,
        by_thread,
        reruns: slots.reruns(),
    })
}

/// Moves it, with whole rounds of the guest before and after.
fn move_through(
    buffer: &Buffer,
    talk: &Talk,
    kinds: impl Iterator<Item = Kind>,
) -> Result<Vec<Moved>> {
    talk.wait_for(1, LIMIT)?;
    let mut moves = Vec::new();
    for kind in kinds {
        moves.push(buffer.relocate(kind, LIMIT)?);
        // Something is counted in between; no whole round.
        thread::sleep(Duration::from_millis(20));
    }
    talk.wait_for(1, LIMIT)?;
    Ok(moves)
}

/// Increments a word of every page until told to stop; says how often.
fn count_in(area: &Area, stop: &AtomicBool) -> Result<u32> {
    let view = area.view();
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        for page in (0..view.len()).step_by(STRIDE as usize) {
            let was: u32 = view.read_at(page + HOST_WORD)?;
            view.write_at(page + HOST_WORD, was + 1)?;
        }
        rounds += 1;
    }
    Ok(rounds)
}
