//! Memory that the guest changes while the device reads it, and two queues at
//! once. Any valid answer is right; none, or a dead device, is not.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use landbridge_protocol_gpu::{
    CONTROL_QUEUE, CURSOR_QUEUE, Command, ControlHeader, Features, Rect,
};
use landbridge_transport::guest::{Descriptor, PAGE};

use crate::machine::Machine;
use crate::row::{OK, Row, judge};
use landbridge_hostile::commands::{
    attach, create_2d, cursor, flush, guest_blob, host_blob, map, set_scanout, transfer, unref,
};
use landbridge_hostile::layout::{DATA, RAM_END};

/// How many requests are sent while something changes.
const REQUESTS: usize = 60;

pub(super) fn rows() -> Vec<Row> {
    let page = [(DATA + 3 * PAGE, 4096)];
    let mut rows = Vec::new();
    for (name, command) in [
        ("blob with entries", guest_blob(1, PAGE, &page)),
        ("backing list", attach(1, &[page[0]; 8])),
        ("blob", host_blob(1, PAGE)),
        ("scanout", set_scanout(0, 1, Rect::of_size(4, 4))),
        ("map", map(1, 0)),
    ] {
        rows.push(
            Row::script(
                format!("a {name} that changes while it is read"),
                OK,
                move |machine| changing_request(machine, &command),
            )
            .then_reset(),
        );
    }
    rows.push(
        Row::script("a table that changes while it is read", OK, changing_table).then_reset(),
    );
    rows.push(Row::script(
        "pixels that change while they are read",
        OK,
        changing_pixels,
    ));
    rows.push(Row::script("both queues at once", OK, both_queues).then_reset());
    rows.push(
        Row::script("resets and requests at once", OK, |machine| {
            for _ in 0..10 {
                let bytes = host_blob(1, PAGE).encode(&ControlHeader::default().with_fence(1));
                let pending: Vec<_> = (0..20)
                    .map(|_| machine.embedded().submit(CONTROL_QUEUE, &bytes, 64))
                    .collect::<Result<_, _>>()?;
                machine.embedded().reset()?;
                drop(pending);
            }
            Ok(OK)
        })
        .then_reset(),
    );
    rows.push(Row::script(
        "guests that come and go in the middle of requests",
        OK,
        |machine| {
            for turn in 0..5 {
                let bytes = host_blob(1, PAGE).encode(&ControlHeader::default());
                for _ in 0..turn * 20 {
                    machine.embedded().submit(CONTROL_QUEUE, &bytes, 64)?;
                }
                machine.connect(Features::all(), turn % 2 == 0)?;
            }
            Ok(OK)
        },
    ));
    rows
}

/// Numbers without order, the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// Runs `change` over and over while `send` runs.
fn meanwhile<R>(change: impl Fn(&mut Dice) + Sync, send: impl FnOnce() -> Result<R>) -> Result<R> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            while !stop.load(Ordering::Relaxed) {
                change(&mut dice);
            }
        });
        let result = send();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn changing_request(machine: &Machine, command: &Command<'_>) -> Result<crate::row::Seen> {
    let good = command.encode(&ControlHeader::default());
    let data = &machine.guest().data;
    data.write(0, &good)?;
    let (len, at) = (good.len(), DATA);
    let values = [0, 1, 2, 7, 0x7f, 0x80, 0xff];
    meanwhile(
        |dice| {
            let offset = dice.roll(len);
            let byte = match dice.roll(3) {
                0 => values[dice.roll(values.len())],
                _ => good[offset],
            };
            data.write(offset as u64, &[byte])
                .expect("within the pages");
        },
        || {
            for _ in 0..REQUESTS {
                data.view().fill(PAGE as usize, PAGE as usize, 0)?;
                let written = machine.push(
                    CONTROL_QUEUE,
                    &[
                        Descriptor::readable(at, len as u32).then(1),
                        Descriptor::writable(at + PAGE, 2048),
                    ],
                )?;
                let answer = data.read(PAGE, written as usize)?;
                ensure!(!answer.is_empty(), "no answer");
                // Fenced or not, the answer must be whole.
                judge(&answer)?;
            }
            Ok(OK)
        },
    )
}

fn changing_table(machine: &mut Machine) -> Result<crate::row::Seen> {
    let data = &machine.guest().data;
    let (at, table) = (DATA, DATA + 2 * PAGE);
    data.write(0, &create_2d(1, 4, 4).encode(&ControlHeader::default()))?;
    let good = [
        Descriptor::readable(at, 40).then(1),
        Descriptor::writable(at + PAGE, 64),
    ];
    for (index, entry) in good.iter().enumerate() {
        data.write(2 * PAGE + 16 * index as u64, &entry.to_bytes())?;
    }
    let addresses = [at, at + PAGE, 0, RAM_END - 4, u64::MAX - 3, 1 << 60, table];
    let lengths = [0, 1, 24, 40, 4096, u32::MAX];
    let nexts = [0, 1, 2, 0xffff];
    meanwhile(
        |dice| {
            let index = dice.roll(2);
            let mut entry = good[index];
            match dice.roll(6) {
                0 => entry.addr = addresses[dice.roll(addresses.len())],
                1 => entry.len = lengths[dice.roll(lengths.len())],
                2 => entry.flags = dice.roll(8) as u16,
                3 => entry.next = nexts[dice.roll(nexts.len())],
                _ => {}
            }
            let offset = 2 * PAGE + 16 * index as u64;
            data.write(offset, &entry.to_bytes())
                .expect("within the pages");
        },
        || {
            for _ in 0..2 * REQUESTS {
                let written = machine.push(CONTROL_QUEUE, &[Descriptor::indirect(table, 32)])?;
                ensure!(written <= 4096, "{written} bytes");
            }
            Ok(OK)
        },
    )
}

fn changing_pixels(machine: &mut Machine) -> Result<crate::row::Seen> {
    let data = &machine.guest().data;
    let at = DATA + 4 * PAGE;
    let whole = Rect::of_size(64, 64);
    machine.ok(&create_2d(1, 64, 64))?;
    machine.ok(&attach(1, &[(at, 16384)]))?;
    machine.ok(&set_scanout(0, 1, whole))?;
    meanwhile(
        |dice| {
            let byte = dice.roll(256) as u8;
            let offset = 4 * PAGE as usize + dice.roll(4) * 4096;
            data.view()
                .fill(offset, 4096, byte)
                .expect("within the pages");
        },
        || {
            for _ in 0..REQUESTS {
                machine.ok(&transfer(1, whole, 0))?;
                machine.ok(&flush(1, whole))?;
            }
            machine.display.take();
            Ok(OK)
        },
    )
}

/// The cursor queue uses what the control queue makes and destroys.
fn both_queues(machine: &mut Machine) -> Result<crate::row::Seen> {
    let machine = &*machine;
    let update = Command::UpdateCursor(cursor(0, 1)).encode(&ControlHeader::default());
    let stop = AtomicBool::new(false);
    let answers = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let cursors = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                judge(&machine.talk(CURSOR_QUEUE, &update, 64)?)?;
                answers.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
        let mut turns = 0;
        let control = loop {
            let turn = || -> Result<()> {
                machine.ok(&create_2d(1, 64, 64))?;
                machine.ok(&set_scanout(0, 1, Rect::of_size(64, 64)))?;
                machine.ok(&unref(1))?;
                Ok(())
            };
            let turn = turn();
            turns += 1;
            // A busy machine may let one queue wait for its turn.
            let met = answers.load(Ordering::Relaxed) > 0 || cursors.is_finished();
            if turn.is_err() || turns >= REQUESTS && met {
                break turn;
            }
        };
        stop.store(true, Ordering::Relaxed);
        cursors.join().expect("the cursor thread")?;
        control?;
        machine.display.take();
        Ok(OK)
    })
}
