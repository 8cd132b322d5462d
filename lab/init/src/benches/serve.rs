//! What `landbridge serve` costs a stock guest: blobs made, mapped, touched and
//! given back; pages flipped, beside QEMU's own GPU in the same guest; hundreds
//! of blobs at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::checks::Checks;
use crate::desk::machine::{GPU, MODULE, SECOND_GPU};
use crate::scenario::{Beside, Device, Expect, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, CROSS_DEVICE, Card, GUEST, MAPPABLE, Param, Picture, Screen};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve",
    claim: "what blobs and page flips cost",
    storey: Storey::Guest,
    needs: Needs {
        modules: &[MODULE],
        devices: &[GPU, SECOND_GPU, QEMUS],
        beside: &[HOST_VISIBLE, GUEST_IMPORT],
        qemu: (11, 1),
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(120),
    expect: Expect::Passes,
    body,
};

/// The mode of all screens.
const SIZE: &str = "1280x800";

const HOST_VISIBLE: Beside = Beside {
    program: "landbridge",
    args: &["serve", "--gpu", "{run}/gpu0", "--outputs", SIZE],
    ready: "{run}/gpu0",
};

const GUEST_IMPORT: Beside = Beside {
    program: "landbridge",
    args: &[
        "serve",
        "--gpu",
        "{run}/gpu1",
        "--outputs",
        SIZE,
        "--gpu-mode",
        "guest-import",
    ],
    ready: "{run}/gpu1",
};

/// QEMU's own.
const QEMUS: Device = Device::new(
    "qemus-gpu",
    &["-device", "virtio-gpu-pci,xres=1280,yres=800"],
);

/// Rounds, taken in turns, so that what disturbs one disturbs all.
const ROUNDS: usize = 5;

fn body(checks: &mut Checks) -> Result<()> {
    let cards = Cards::find()?;
    for (size, name, times) in [
        (4 << 10, "4 KiB", 60),
        (1 << 20, "1 MiB", 20),
        (16 << 20, "16 MiB", 4),
    ] {
        cycles(checks, &cards, (size, name), times)?;
    }
    at_once(checks, &cards.host_visible)?;
    flips(checks, &cards)
}

/// The three GPUs.
struct Cards {
    host_visible: Card,
    guest_import: Card,
    qemus: Card,
}

impl Cards {
    fn find() -> Result<Self> {
        let mut cards = [Card::open(0)?, Card::open(1)?, Card::open(2)?].map(Some);
        let mut take = |blob, host_visible| {
            let has = |card: &Card, param| card.param(param).is_ok_and(|value| value == 1);
            let found = cards.iter_mut().find(|card| {
                let kind = |card: &Card| (has(card, Param::Blob), has(card, Param::HostVisible));
                card.as_ref()
                    .is_some_and(|card| kind(card) == (blob, host_visible))
            });
            found.and_then(Option::take).context("a GPU is missing")
        };
        Ok(Self {
            host_visible: take(true, true)?,
            guest_import: take(true, false)?,
            qemus: take(false, false)?,
        })
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ratio(one: Duration, other: Duration) -> String {
    format!("{:.2}", one.as_secs_f64() / other.as_secs_f64())
}

fn micros(time: Duration) -> String {
    format!("{} us", time.as_micros())
}

/// Create, map, touch every page, unmap, give back.
fn cycles(
    checks: &mut Checks,
    cards: &Cards,
    (size, name): (u64, &str),
    times: usize,
) -> Result<()> {
    let host = Blob::of_the_host(size);
    let guest = Blob {
        memory: GUEST,
        ..host
    };
    // Its map is never idle.
    let shared = Blob {
        flags: MAPPABLE | CROSS_DEVICE,
        ..host
    };
    let mut taken = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for _ in 0..times {
            taken[0].push(cycle(&cards.host_visible, host)?);
        }
        for _ in 0..times {
            taken[1].push(cycle(&cards.host_visible, shared)?);
        }
        for _ in 0..times {
            taken[2].push(cycle(&cards.guest_import, guest)?);
        }
        for _ in 0..times {
            taken[3].push(dumb_cycle(&cards.qemus, size)?);
        }
    }
    let taken = taken.map(median);
    let row = format!("{name}: create, map, touch, unmap");
    let ratios = format!("{name}: ratio to QEMU's dumb buffer");
    for (column, time) in [HOST, SHARED, OWN, QEMU].into_iter().zip(taken) {
        checks.cell(column, &row, &micros(time));
        checks.cell(column, &ratios, &ratio(time, taken[3]));
    }
    Ok(())
}

/// The columns.
const HOST: &str = "host-visible";
const SHARED: &str = "host-visible, cross-device";
const OWN: &str = "guest-import";
const QEMU: &str = "QEMU's virtio-gpu";

fn cycle(card: &Card, blob: Blob) -> Result<Duration> {
    let start = Instant::now();
    let made = card.blob(blob)?;
    touch(card.map(made)?);
    card.close(made.handle)?;
    Ok(start.elapsed())
}

/// QEMU's device has no blobs here: a dumb buffer is what it has.
fn dumb_cycle(card: &Card, size: u64) -> Result<Duration> {
    let start = Instant::now();
    let (made, _, map) = card.dumb(1024, u32::try_from(size / 4096)?)?;
    touch(map);
    card.close(made.handle)?;
    Ok(start.elapsed())
}

fn touch(map: Map) {
    for at in (0..map.bytes()).step_by(PAGE) {
        map.set(at, 1);
    }
}

/// 300 blobs at once: what the first and the last of them cost.
fn at_once(checks: &mut Checks, card: &Card) -> Result<()> {
    const BLOBS: usize = 300;
    let mut held = Vec::with_capacity(BLOBS);
    let mut times = Vec::with_capacity(BLOBS);
    for _ in 0..BLOBS {
        let start = Instant::now();
        let made = card.blob(Blob::of_the_host(PAGE as u64))?;
        let map = card.map(made)?;
        map.set(0, 1);
        times.push(start.elapsed());
        held.push((made, map));
    }
    let last = median(times.split_off(BLOBS - 50));
    let first = median(times[..50].to_vec());
    checks.cell(
        HOST,
        "300 blobs at once: each of the first 50",
        &micros(first),
    );
    checks.cell(
        HOST,
        "300 blobs at once: each of the last 50",
        &micros(last),
    );
    checks.cell(HOST, "300 blobs at once: ratio", &ratio(last, first));
    for (made, map) in held {
        drop(map);
        card.close(made.handle)?;
    }
    Ok(())
}

/// Dumb buffers take turns on each GPU's screen.
fn flips(checks: &mut Checks, cards: &Cards) -> Result<()> {
    let pages = [&cards.host_visible, &cards.guest_import, &cards.qemus]
        .map(|card| Ok::<_, anyhow::Error>((card, Pages::new(card)?)));
    let [host, own, qemus] = pages;
    let pages = [host?, own?, qemus?];
    let mut taken = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (times, (card, pages)) in taken.iter_mut().zip(&pages) {
            times.push(pages.flip(card)?);
        }
    }
    let times = taken.map(median);
    for (column, time) in [HOST, OWN, QEMU].into_iter().zip(times) {
        let rate = f64::from(Pages::FLIPS) / time.as_secs_f64();
        let row = format!("flips of {SIZE} dumb buffers a second");
        checks.cell(column, &row, &format!("{rate:.0}"));
        let row = "flips a second: ratio to QEMU's own";
        checks.cell(column, row, &ratio(times[2], time));
    }
    Ok(())
}

/// Two dumb buffers of one screen.
struct Pages {
    screen: Screen,
    framebuffers: [u32; 2],
    // Held for its Drop.
    _memory: [Map; 2],
}

impl Pages {
    /// In a round.
    const FLIPS: u32 = 40;

    fn new(card: &Card) -> Result<Self> {
        let screen = card.screen(0)?;
        let (width, height) = screen.mode.size();
        let page = |number| {
            let (made, pitch, memory) = card.dumb(width, height)?;
            let picture = Picture {
                pitch,
                ..Picture::new(width, height, number)
            };
            picture.draw(&memory);
            Ok::<_, anyhow::Error>((card.framebuffer(made.handle, picture)?, memory))
        };
        let ((first, one), (second, two)) = (page(1)?, page(2)?);
        card.set(&screen, first)?;
        Ok(Self {
            screen,
            framebuffers: [first, second],
            _memory: [one, two],
        })
    }

    fn flip(&self, card: &Card) -> Result<Duration> {
        let start = Instant::now();
        for turn in 0..Self::FLIPS {
            let next = self.framebuffers[(turn as usize + 1) % 2];
            card.flip(&self.screen, next, turn.into())?;
        }
        Ok(start.elapsed())
    }
}
