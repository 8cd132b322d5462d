//! Backing lists that are strange, and shown.

use anyhow::ensure;
use landbridge_hostile::commands::{
    attach, create_2d, flush, guest_blob, set_scanout, show, transfer,
};
use landbridge_hostile::layout::DATA;
use landbridge_protocol_gpu::ErrorCode::InvalidParameter;
use landbridge_protocol_gpu::Rect;
use landbridge_transport::guest::PAGE;

use crate::row::{OK, Row};

/// This guest has nothing at address 0.
fn null() -> Vec<Row> {
    let list = [(0, 4096)];
    vec![
        Row::script(
            "2D backing at address 0",
            InvalidParameter,
            move |machine| {
                machine.ok(&create_2d(1, 4, 4))?;
                machine.ask(&attach(1, &list))
            },
        ),
        Row::script(
            "blob backing at address 0",
            InvalidParameter,
            move |machine| machine.ask(&guest_blob(1, PAGE, &list)),
        ),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = null();
    rows.extend(overlaps());
    rows
}

/// One page more than once is strange, and no harm.
fn overlaps() -> Vec<Row> {
    let data = DATA;
    vec![
        Row::script(
            "overlapping entries show the same bytes twice",
            OK,
            move |machine| {
                machine.guest().data.write(0, &[0x11; 4096])?;
                machine.guest().data.write(PAGE, &[0x22; 4096])?;
                machine.ok(&create_2d(1, 64, 48))?;
                machine.ok(&attach(1, &[(data, 8192), (data, 4096)]))?;
                let whole = Rect::of_size(64, 48);
                machine.ok(&transfer(1, whole, 0))?;
                machine.ok(&set_scanout(0, 1, whole))?;
                machine.display.take();
                let seen = machine.ask(&flush(1, whole))?;
                let shown = shown_bytes(machine.display.take())?;
                let pages: Vec<u8> = shown.chunks(4096).map(|page| page[0]).collect();
                ensure!(pages == [0x11, 0x22, 0x11], "{pages:x?}");
                Ok(seen)
            },
        ),
        Row::script("more entries than udmabuf takes", OK, move |machine| {
            let list: Vec<_> = (0..1200)
                .map(|index| (data + [0, 2][index % 2] * PAGE, 4096))
                .collect();
            machine.guest().data.write(0, &[0x33; 4096])?;
            machine.guest().data.write(2 * PAGE, &[0x44; 4096])?;
            machine.ok(&guest_blob(1, 1200 * PAGE, &list))?;
            machine.ok(&show(0, 1, 1024, 1200))?;
            machine.display.take();
            let seen = machine.ask(&flush(1, Rect::of_size(1024, 1200)))?;
            let shown = shown_bytes(machine.display.take())?;
            let right = shown
                .chunks(4096)
                .enumerate()
                .all(|(index, page)| page.iter().all(|byte| *byte == [0x33, 0x44][index % 2]));
            ensure!(right && shown.len() == 1200 * 4096, "wrong pixels");
            Ok(seen)
        }),
    ]
}

/// The pixels of the one picture that was shown.
fn shown_bytes(events: Vec<landbridge_device_gpu::display::Event>) -> anyhow::Result<Vec<u8>> {
    match events.into_iter().next() {
        Some(landbridge_device_gpu::display::Event::Flushed {
            pixels: Some(pixels),
            ..
        }) => Ok(pixels),
        other => anyhow::bail!("no picture: {other:?}"),
    }
}
