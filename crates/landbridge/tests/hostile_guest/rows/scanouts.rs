//! Floods, and what is shown when its buffer goes.

use anyhow::ensure;
use landbridge_device_gpu::display::Event;
use landbridge_hostile::commands::{
    create_2d, cursor, detach, guest_blob, host_blob, set_scanout, show, unref,
};
use landbridge_hostile::layout::DATA;
use landbridge_protocol_gpu::{Command, Rect};
use landbridge_transport::guest::PAGE;

use crate::row::{OK, Row};

pub(super) fn rows() -> Vec<Row> {
    let whole = Rect::of_size(4, 4);
    vec![
        Row::script("a flood of SET_SCANOUT", OK, move |machine| {
            machine.ok(&host_blob(1, PAGE))?;
            machine.ok(&create_2d(2, 4, 4))?;
            for turn in 0..200 {
                machine.ok(&show(0, 1, 4, 4))?;
                machine.ok(&set_scanout(0, 2, whole))?;
                machine.ok(&show(turn % 2, 1, 4, 4))?;
            }
            let seen = machine.ask(&set_scanout(0, 2, whole))?;
            let importers = machine
                .exchange
                .buffers()
                .iter()
                .map(|it| it.importers().len())
                .sum();
            ensure!((1..=4usize).contains(&importers), "{importers} importers");
            Ok(seen)
        }),
        Row::script("a flood of cursors", OK, move |machine| {
            machine.ok(&create_2d(1, 64, 64))?;
            for _ in 0..200 {
                let seen = machine.ask(&Command::UpdateCursor(cursor(0, 1)))?;
                ensure!(seen == OK, "{seen:?}");
            }
            let importers = machine.exchange.buffers()[0].importers().len();
            ensure!(importers == 1, "{importers} importers");
            machine.display.take();
            Ok(OK)
        }),
        Row::script("unref of what is shown everywhere", OK, move |machine| {
            machine.ok(&create_2d(1, 64, 64))?;
            machine.ok(&set_scanout(0, 1, Rect::of_size(64, 64)))?;
            machine.ok(&set_scanout(1, 1, whole))?;
            machine.ask(&Command::UpdateCursor(cursor(0, 1)))?;
            machine.display.take();
            let seen = machine.ask(&unref(1))?;
            let mut dark = machine.display.take();
            dark.retain(|event| matches!(event, Event::Disabled(_)));
            ensure!(dark == [Event::Disabled(0), Event::Disabled(1)], "{dark:?}");
            let buffers = machine.exchange.buffers().len();
            ensure!(buffers == 0, "{buffers} buffers");
            Ok(seen)
        }),
        Row::script("detach of a guest blob that is shown", OK, move |machine| {
            machine.ok(&guest_blob(1, PAGE, &[(DATA, 4096)]))?;
            machine.ok(&show(0, 1, 4, 4))?;
            machine.display.take();
            let seen = machine.ask(&detach(1))?;
            let events = machine.display.take();
            ensure!(events == [Event::Disabled(0)], "{events:?}");
            Ok(seen)
        }),
    ]
}
