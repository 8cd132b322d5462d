//! Commands that wait for another user of a buffer who does not end, and what
//! a guest does meanwhile.

use anyhow::{Context, Result, ensure};
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Buffer, Fence, fence::Outcome};
use landbridge_protocol_gpu::ErrorCode::{InvalidResourceId, OutOfMemory, Unspecified};
use landbridge_protocol_gpu::{CONTROL_QUEUE, Command, ControlHeader, Features, Rect, Response};
use landbridge_transport::Error;
use landbridge_transport::guest::{PAGE, Pending};

use crate::machine::{Machine, PATIENCE, WAITING, settle};
use crate::row::{OK, Row, Seen, judge};
use landbridge_hostile::commands::{assign_uuid, create_2d, flush, host_blob, show, unref};

/// A blob that is shown, as a decoder finds it.
fn shown(machine: &Machine) -> Result<Buffer> {
    machine.ok(&host_blob(1, PAGE))?;
    machine.ok(&show(0, 1, 4, 4))?;
    let Response::OkResourceUuid(uuid) = machine.ok(&assign_uuid(1))? else {
        anyhow::bail!("no UUID");
    };
    machine.exchange.lookup(uuid).context("no buffer")
}

fn begin(machine: &Machine, command: &Command<'_>) -> Result<Pending> {
    let bytes = command.encode(&ControlHeader::default());
    Ok(machine.embedded().submit(CONTROL_QUEUE, &bytes, 2048)?)
}

fn waiting(machine: &Machine, count: usize) -> Result<()> {
    settle(|| {
        let waiting = machine.device.status().waiting;
        ensure!(waiting == count, "{waiting} wait");
        Ok(())
    })
}

fn area() -> Command<'static> {
    flush(1, Rect::of_size(4, 4))
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::script("unref while a flush waits", InvalidResourceId, |machine| {
            let (writer, done) = Fence::new("a writer");
            shown(machine)?.reservation().add(writer, Direction::Write);
            let pending = begin(machine, &area())?;
            waiting(machine, 1)?;
            machine.ok(&unref(1))?;
            let answer = pending.wait(PATIENCE)?;
            drop(done);
            machine.display.take();
            judge(&answer.bytes)
        }),
        Row::script("a reset while a flush waits", Seen::Ended, |machine| {
            let (writer, done) = Fence::new("a writer");
            shown(machine)?.reservation().add(writer, Direction::Write);
            let pending = begin(machine, &area())?;
            waiting(machine, 1)?;
            machine.embedded().reset()?;
            let ended = matches!(pending.wait(PATIENCE), Err(Error::Ended));
            ensure!(ended, "answered after the reset");
            drop(done);
            machine.display.take();
            Ok(Seen::Ended)
        }),
        Row::script(
            "a guest that dies while a flush waits",
            Seen::Ended,
            |machine| {
                let (writer, done) = Fence::new("a writer");
                shown(machine)?.reservation().add(writer, Direction::Write);
                begin(machine, &area())?;
                waiting(machine, 1)?;
                machine.leave()?;
                machine.check_empty()?;
                done.signal(Outcome::Done);
                machine.connect(Features::all(), true)?;
                Ok(Seen::Ended)
            },
        ),
        Row::script("more flushes than may wait", OutOfMemory, |machine| {
            let (writer, done) = Fence::new("a writer");
            shown(machine)?.reservation().add(writer, Direction::Write);
            let fitting: Vec<_> = (0..WAITING)
                .map(|_| begin(machine, &area()))
                .collect::<Result<_>>()?;
            waiting(machine, WAITING)?;
            let one_more = judge(&begin(machine, &area())?.wait(PATIENCE)?.bytes)?;
            done.signal(Outcome::Done);
            for pending in fitting {
                let seen = judge(&pending.wait(PATIENCE)?.bytes)?;
                ensure!(seen == OK, "{seen:?}");
            }
            machine.display.take();
            Ok(one_more)
        }),
        Row::script("a writer that never ends", Unspecified, |machine| {
            let (writer, _never) = Fence::new("a writer");
            shown(machine)?.reservation().add(writer, Direction::Write);
            let pending = begin(machine, &area())?;
            waiting(machine, 1)?;
            // Others go on meanwhile.
            machine.ok(&create_2d(2, 4, 4))?;
            let answer = pending.wait(PATIENCE)?;
            machine.display.take();
            judge(&answer.bytes)
        })
        .once(),
        Row::script("a picture that the host keeps", OK, |machine| {
            shown(machine)?;
            let picture = machine.device.scanout(0).context("nothing is shown")?;
            let seen = machine.ask(&unref(1))?;
            machine.embedded().reset()?;
            let kept = machine.exchange.buffers().len();
            ensure!(kept == 1, "{kept} buffers while one is kept");
            drop(picture);
            machine.check_empty()?;
            machine.display.take();
            Ok(seen)
        }),
    ]
}
