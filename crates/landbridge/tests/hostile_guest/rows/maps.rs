//! MAP_BLOB and UNMAP_BLOB: places that can't be, and twice of everything.

use anyhow::{Context, Result, ensure};
use landbridge_protocol_gpu::ErrorCode::{InvalidParameter, InvalidResourceId, OutOfMemory};
use landbridge_protocol_gpu::{BlobFlags, BlobMem, ResponseKind};
use landbridge_transport::guest::PAGE;

use crate::commands::{blob, create_2d, guest_blob, host_blob, map, unmap, unref};
use crate::machine::{LIMITS, Machine, WINDOW, data_address};
use crate::row::{OK, Row};

pub(super) fn rows() -> Vec<Row> {
    let one = [host_blob(1, 2 * PAGE)];
    let mut rows: Vec<Row> = [
        ("where offset + size wraps", !0xfff),
        (
            "where offset + size wraps to 0",
            0u64.wrapping_sub(2 * PAGE),
        ),
        ("at 2^64 - 1", u64::MAX),
        ("at 2^63", 1 << 63),
        ("at 1", 1),
        ("at half a page", PAGE / 2),
        ("at the window's end", WINDOW),
        ("across the window's end", WINDOW - PAGE),
        ("far outside the window", 1 << 40),
    ]
    .into_iter()
    .map(|(name, at)| Row::command(format!("map {name}"), &one, map(1, at), InvalidParameter))
    .collect();
    rows.extend(twice());
    rows.extend(kinds());
    rows.extend(ends());
    rows.extend(idle());
    rows
}

/// Blobs whose maps stay in the window when they are unmapped.
fn idle() -> Vec<Row> {
    let own = |id, size| blob(id, BlobMem::Host3d, BlobFlags::MAPPABLE, size, &[]);
    let unmapped = [own(1, PAGE), map(1, PAGE), unmap(1)];
    let mapped_over = [&unmapped[..], &[own(2, 4 * PAGE), map(2, 0)]].concat();
    let at_rest = [&unmapped[..], &[unref(1), own(2, PAGE)]].concat();
    vec![
        Row::command("unmap what idles", &unmapped, unmap(1), InvalidParameter),
        Row::command(
            "map what idles past the window",
            &unmapped,
            map(1, WINDOW),
            InvalidParameter,
        ),
        Row::command(
            "map what idled where another is now",
            &mapped_over,
            map(1, PAGE),
            InvalidParameter,
        ),
        Row::command(
            "unmap what has an idle map and was never mapped",
            &at_rest,
            unmap(2),
            InvalidParameter,
        ),
        Row::script("write to what idles", OK, move |machine| {
            let window = |machine: &Machine| -> Result<Vec<u8>> {
                let window = machine.embedded().window().context("a window")?;
                let there = window.read(PAGE, 4)?;
                window.write(PAGE, b"mine")?;
                Ok(there)
            };
            for id in 1..20 {
                machine.ok(&own(id, PAGE))?;
                machine.ok(&map(id, PAGE))?;
                let there = window(machine)?;
                ensure!(there == [0; 4], "{there:?} of an earlier blob");
                machine.ok(&unmap(id))?;
                machine.ok(&unref(id))?;
                window(machine)?;
            }
            Ok(OK)
        })
        .then_reset(),
        Row::script(
            "maps at rest until the limit",
            OutOfMemory,
            move |machine| {
                for id in 1..=LIMITS.window_maps as u32 {
                    machine.ok(&own(id, PAGE))?;
                    machine.ok(&map(id, u64::from(id) * PAGE))?;
                }
                for id in [1, 2] {
                    machine.ok(&unmap(id))?;
                    machine.ok(&unref(id))?;
                }
                for id in [1, 2] {
                    machine.ok(&host_blob(id, PAGE))?;
                    machine.ok(&map(id, (100 + u64::from(id)) * PAGE))?;
                }
                machine.ok(&own(100, PAGE))?;
                machine.ask(&map(100, 0))
            },
        )
        .then_reset(),
    ]
}

fn twice() -> Vec<Row> {
    let mapped = [host_blob(1, 2 * PAGE), map(1, 4 * PAGE)];
    let two = [
        host_blob(1, 2 * PAGE),
        map(1, 4 * PAGE),
        host_blob(2, 2 * PAGE),
    ];
    let mut rows = vec![
        Row::command("map twice", &mapped, map(1, 8 * PAGE), InvalidParameter),
        Row::command(
            "map twice at one place",
            &mapped,
            map(1, 4 * PAGE),
            InvalidParameter,
        ),
        Row::command(
            "unmap what is not mapped",
            &mapped[..1],
            unmap(1),
            InvalidParameter,
        ),
        Row::command(
            "unmap twice",
            &[host_blob(1, PAGE), map(1, 0), unmap(1)],
            unmap(1),
            InvalidParameter,
        ),
        Row::command("unmap nothing", &[], unmap(1), InvalidResourceId),
        Row::command("map nothing", &[], map(1, 0), InvalidResourceId),
        Row::command("map resource 0", &[], map(0, 0), InvalidResourceId),
    ];
    for (name, at) in [
        ("over the beginning of", 3),
        ("exactly over", 4),
        ("over the end of", 5),
    ] {
        rows.push(Row::command(
            format!("map {name} another"),
            &two,
            map(2, at * PAGE),
            InvalidParameter,
        ));
    }
    rows.push(Row::command(
        "map around another",
        &[host_blob(1, PAGE), map(1, 5 * PAGE), host_blob(2, 4 * PAGE)],
        map(2, 4 * PAGE),
        InvalidParameter,
    ));
    rows
}

fn kinds() -> Vec<Row> {
    let page = [(data_address(), 4096)];
    let not_mappable = BlobFlags::SHAREABLE | BlobFlags::CROSS_DEVICE;
    vec![
        Row::command(
            "map a 2D resource",
            &[create_2d(1, 32, 32)],
            map(1, 0),
            InvalidParameter,
        ),
        Row::command(
            "map a guest blob",
            &[guest_blob(1, PAGE, &page)],
            map(1, 0),
            InvalidParameter,
        ),
        Row::command(
            "map a guest blob without memory",
            &[guest_blob(1, PAGE, &[])],
            map(1, 0),
            InvalidParameter,
        ),
        Row::command(
            "map a shadowed blob",
            &[blob(1, BlobMem::Host3dGuest, BlobFlags::all(), PAGE, &page)],
            map(1, 0),
            InvalidParameter,
        ),
        Row::command(
            "map what was not made to be mapped",
            &[blob(1, BlobMem::Host3d, not_mappable, PAGE, &[])],
            map(1, 0),
            InvalidParameter,
        ),
        Row::command(
            "map a blob larger than the window",
            &[host_blob(1, 2 * WINDOW)],
            map(1, 0),
            InvalidParameter,
        ),
        Row::command(
            "map a whole window",
            &[host_blob(1, WINDOW)],
            map(1, 0),
            ResponseKind::OkMapInfo,
        )
        .then_reset(),
        Row::script(
            "map until the limit, and one more",
            OutOfMemory,
            |machine| {
                for id in 1..=LIMITS.window_maps as u32 {
                    machine.ok(&host_blob(id, PAGE))?;
                    machine.ok(&map(id, u64::from(id) * PAGE))?;
                }
                machine.ok(&host_blob(100, PAGE))?;
                machine.ask(&map(100, 0))
            },
        )
        .then_reset(),
    ]
}

fn ends() -> Vec<Row> {
    vec![
        Row::script("unref of what is mapped", OK, |machine| {
            machine.ok(&host_blob(1, PAGE))?;
            machine.ok(&map(1, 0))?;
            let seen = machine.ask(&unref(1))?;
            let window = machine.embedded().window().context("a window")?;
            ensure!(window.maps().is_empty(), "still mapped");
            ensure!(window.read(0, 1).is_err(), "still readable");
            Ok(seen)
        }),
        Row::command(
            "unmap what was unreferenced while mapped",
            &[host_blob(1, PAGE), map(1, 0), unref(1)],
            unmap(1),
            InvalidResourceId,
        ),
        Row::script(
            "a refused map leaves the place free",
            ResponseKind::OkMapInfo,
            |machine| {
                machine.ok(&guest_blob(1, PAGE, &[]))?;
                machine.ok(&host_blob(2, PAGE))?;
                for _ in 0..20 {
                    let seen = machine.ask(&map(1, 0))?;
                    ensure!(seen == InvalidParameter.into(), "{seen:?}");
                    let seen = machine.ask(&map(2, 1))?;
                    ensure!(seen == InvalidParameter.into(), "{seen:?}");
                }
                machine.ask(&map(2, 0))
            },
        ),
        Row::script("map and unmap at one place many times", OK, |machine| {
            machine.ok(&host_blob(1, PAGE))?;
            for _ in 0..50 {
                machine.ok(&map(1, 0))?;
                machine.ok(&unmap(1))?;
            }
            Ok(OK)
        }),
    ]
}
