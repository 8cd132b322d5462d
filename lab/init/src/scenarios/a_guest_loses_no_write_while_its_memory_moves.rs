//! Real KVM: a guest and a thread of its VMM count without pause in memory that
//! is moved under them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use landbridge_dmabuf::GateKind;
use landbridge_kvm::{Slot, SlotOptions};

use crate::checks::Checks;
use crate::kvm_guest::{Backing, Guest, Kind, Ran, STRIDE};
use crate::scenario::{Expect, Needs, Scenario, Storey};

const SIZE: u64 = 64 << 20;
/// How often it is moved in a run of everything; the word `moves=1000` on the
/// command line makes it a thousand.
const MOVES: usize = 12;
/// The guest counts in the first word of a page, the thread in this one.
const HOST_WORD: usize = 8;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_guest_loses_no_write_while_its_memory_moves",
    claim: "a guest that counts in 64 MiB without pause loses no increment while they move between memfd, udmabuf and huge pages",
    storey: Storey::Host,
    needs: Needs {
        kvm: true,
        huge_pages: 36,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(120),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let backings = [Kind::Memfd, Kind::Udmabuf, Kind::Huge].map(|kind| Backing::new(kind, SIZE));
    let [memfd, udmabuf, huge] = backings;
    let backings = [memfd?, udmabuf?, huge?];
    let mut guest = Guest::new(SIZE)?;
    let (slots, talk) = (guest.slots(), guest.talk());
    let slot = guest.insert(&backings[0], SlotOptions::default())?;
    let stop = AtomicBool::new(false);
    let (times, ran, counted) = thread::scope(|scope| {
        let runs = scope.spawn(|| guest.run());
        let counts = scope.spawn(|| count(&slot, &stop));
        let times = (0..MOVES)
            .map(|turn| {
                let (from, to) = (&backings[turn % 3], &backings[(turn + 1) % 3]);
                let time = move_to(&slot, from, to)?;
                // Something happens in between, without waiting for a round.
                thread::sleep(Duration::from_millis(50));
                Ok(time)
            })
            .collect::<Result<Vec<_>>>();
        let went_on = talk.wait_for(1, Duration::from_secs(60));
        stop.store(true, Ordering::Relaxed);
        talk.stop()?;
        let panicked = |_| anyhow!("a thread panicked");
        let ran = runs.join().map_err(panicked)?;
        let counted = counts.join().map_err(panicked)?;
        went_on?;
        Ok::<_, anyhow::Error>((times?, ran?, counted?))
    })?;
    let last = &backings[MOVES % 3];
    let rounds = talk.rounds()?;
    checks.holds("the guest counted", rounds > 0, rounds);
    same(checks, "the guest's increments", &last.words(0)?, rounds);
    same(
        checks,
        "the thread's increments",
        &last.words(HOST_WORD)?,
        counted,
    );
    checks.equal("the guest met no hole", &ran, &Ran::default());
    for (kind, (gate, times)) in ["memfd", "udmabuf", "huge pages"]
        .iter()
        .zip(by_kind(&times))
    {
        checks.note(format!(
            "64 MiB away from {kind} ({gate:?} gate), blackouts in ms: {times:?}"
        ));
    }
    checks.note(format!(
        "{MOVES} moves, {rounds} rounds, run again {} times",
        slots.reruns()
    ));
    Ok(())
}

/// Gates, copies, shows: how the guest was held off, and for how long.
fn move_to(slot: &Slot, from: &Backing, to: &Backing) -> Result<(GateKind, Duration)> {
    let start = Instant::now();
    let gate = slot.hold()?.ok_or_else(|| anyhow!("no slot"))?;
    to.copy_from(from)?;
    slot.show(&to.piece())?;
    Ok((gate, start.elapsed()))
}

fn by_kind(times: &[(GateKind, Duration)]) -> Vec<(GateKind, Vec<u128>)> {
    (0..3)
        .filter_map(|kind| {
            let mine = times.iter().skip(kind).step_by(3);
            let ms = mine.clone().map(|(_, time)| time.as_millis()).collect();
            Some((mine.clone().next()?.0, ms))
        })
        .collect()
}

/// Increments a word of every page until told to stop; says how often.
fn count(slot: &Slot, stop: &AtomicBool) -> Result<u32> {
    let view = slot.area().view();
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

fn same(checks: &mut Checks, what: &str, words: &[u32], want: u32) {
    let wrong = words.iter().filter(|word| **word != want).count();
    let detail = format!("{wrong} of {} differ from {want}", words.len());
    checks.holds(&format!("{what} are all there"), wrong == 0, detail);
}
