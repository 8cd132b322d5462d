//! Guests and VMMs that die, reset and come back at the worst moment.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use landbridge_protocol_gpu::{CONTROL_QUEUE, Command, ControlHeader, Features, Rect};
use landbridge_transport::Error;
use landbridge_transport::guest::PAGE;

use crate::machine::{Machine, settle};
use crate::row::{OK, Row, Seen};
use landbridge_hostile::commands::{
    assign_uuid, attach, attach_to_context, create_2d, create_context, cursor, guest_blob,
    host_blob, map, set_scanout, show, transfer, unmap,
};
use landbridge_hostile::layout::DATA;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::script("a reset with everything in use", OK, |machine| {
            use_everything(machine)?;
            machine.embedded().reset()?;
            machine.check_empty()?;
            Ok(OK)
        }),
        Row::script("a reboot with everything in use", OK, |machine| {
            use_everything(machine)?;
            machine.embedded().rebind()?;
            machine.check_empty()?;
            Ok(OK)
        }),
        Row::script("a guest that dies with everything in use", OK, |machine| {
            use_everything(machine)?;
            machine.leave()?;
            machine.check_empty()?;
            come_back(machine)
        }),
        Row::script("a VMM that dies in the middle of a flood", OK, |machine| {
            let bytes = host_blob(1, PAGE).encode(&ControlHeader::default());
            let flood = || machine.embedded().submit(CONTROL_QUEUE, &bytes, 64);
            while flood().is_ok_and(|_| machine.device.status().metrics.commands % 64 != 63) {}
            machine.embedded().hang_up();
            machine.leave()?;
            machine.check_empty()?;
            come_back(machine)
        }),
        Row::script("guests that come and go", OK, |machine| {
            for _ in 0..5 {
                machine.leave()?;
                come_back(machine)?;
            }
            Ok(OK)
        }),
        Row::script("a second VMM", OK, |machine| {
            let busy = matches!(machine.backend.connect(), Err(Error::Busy));
            ensure!(busy, "two VMMs at one device");
            Ok(OK)
        }),
    ];
    rows.extend(windows());
    rows.extend(strangers());
    rows
}

fn come_back(machine: &mut Machine) -> Result<Seen> {
    machine.connect(Features::all(), true)?;
    Ok(OK)
}

fn use_everything(machine: &Machine) -> Result<()> {
    let page = [(DATA, 4096)];
    let whole = Rect::of_size(64, 64);
    for command in [
        create_2d(1, 64, 64),
        attach(1, &[(DATA, 16384)]),
        transfer(1, whole, 0),
        set_scanout(0, 1, whole),
        host_blob(2, PAGE),
        map(2, 0),
        assign_uuid(2),
        show(1, 2, 4, 4),
        host_blob(3, 4 * PAGE),
        map(3, 8 * PAGE),
        guest_blob(4, PAGE, &page),
        assign_uuid(4),
    ] {
        machine.ok(&command)?;
    }
    machine.ask(&Command::UpdateCursor(cursor(0, 1)))?;
    let header = ControlHeader::in_context(3);
    machine.ask_with(header, &create_context(0))?;
    machine.ask_with(header, &attach_to_context(2))?;
    Ok(())
}

/// A VMM that is slow to map or unmap, and then gone.
fn windows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, mapped, command) in [("map", false, map(1, 0)), ("unmap", true, unmap(1))] {
        let bytes = command.encode(&ControlHeader::default());
        let ask = move |machine: &Machine| -> Result<()> {
            machine.ok(&host_blob(1, PAGE))?;
            if mapped {
                machine.ok(&map(1, 0))?;
            }
            Ok(())
        };
        let begun = move |machine: &Machine| {
            settle(|| {
                // Taken in the book from the question on, and off the
                // resource while it is asked.
                let status = machine.device.status();
                let at = status.resources.first().and_then(|it| it.mapped_at);
                ensure!(status.maps == 1 && at.is_none(), "not asked yet");
                Ok(())
            })
        };
        let sent = bytes.clone();
        rows.push(Row::script(
            format!("a VMM that dies while it is to {what}"),
            OK,
            move |machine| {
                ask(machine)?;
                let window = machine.embedded().window().context("a window")?;
                let stall = window.stall();
                let pending = machine.embedded().submit(CONTROL_QUEUE, &sent, 64)?;
                begun(machine)?;
                machine.embedded().hang_up();
                drop((stall, pending));
                machine.leave()?;
                machine.check_empty()?;
                come_back(machine)
            },
        ));
        rows.push(Row::script(
            format!("a reset while the VMM is to {what}"),
            OK,
            move |machine| {
                ask(machine)?;
                let window = machine.embedded().window().context("a window")?;
                let stall = window.stall();
                let pending = machine.embedded().submit(CONTROL_QUEUE, &bytes, 64)?;
                begun(machine)?;
                machine.embedded().reset()?;
                drop((stall, pending));
                machine.check_empty()?;
                Ok(OK)
            },
        ));
    }
    rows
}

/// Who connects and speaks no vhost-user, or not to the end.
fn strangers() -> Vec<Row> {
    let header = |request: u32, size: u32| {
        let words = [request, 1, size].map(u32::to_le_bytes);
        words.concat()
    };
    let memory = [header(5, 40), vec![0xff; 40]].concat();
    [
        ("says nothing", vec![]),
        ("says half a header", vec![1, 0, 0, 0, 1, 0]),
        ("says a header and no body", header(2, 8)),
        ("says half a body", [header(2, 8), vec![1, 2, 3]].concat()),
        ("talks rubbish", vec![0xab; 300]),
        ("announces 4 GiB", header(2, u32::MAX)),
        ("sends an unknown request", header(0x7fff, 0)),
        ("announces memory and sends none", memory),
        (
            "kicks a queue that is not there",
            [header(12, 8), vec![0xfe; 8]].concat(),
        ),
        (
            "sets up a queue that is not there",
            [header(8, 8), vec![0x7f; 8]].concat(),
        ),
        (
            "answers what nobody asked",
            [header(1, 8), vec![0; 8]].concat(),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| {
        Row::script(
            format!("a VMM that {name} and hangs up"),
            OK,
            move |machine| {
                machine.leave()?;
                let (mut stream, connection) = machine.backend.connect()?;
                // It may hang up on us first.
                let _ = stream.write_all(&bytes);
                drop(stream);
                // Well or ill, but it ends.
                let _ = connection.wait();
                machine.check_empty()?;
                come_back(machine)
            },
        )
    })
    .collect()
}
