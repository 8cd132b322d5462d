//! MAP_BLOB and UNMAP_BLOB: places that can't be, and twice of everything.

use landbridge_protocol_gpu::ErrorCode::{InvalidParameter, InvalidResourceId, OutOfMemory};
use landbridge_protocol_gpu::{BlobFlags, BlobMem, Command, ResponseKind};
use landbridge_transport::guest::PAGE;

use crate::commands::{blob, create_2d, guest_blob, host_blob, map, unmap, unref};
use crate::layout::{DATA, WINDOW, WINDOW_MAPS};
use crate::row::{OK, Request, Row};

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
        Row::command(
            "maps at rest until the limit",
            &at_rest_until_the_limit(),
            map(100, 0),
            OutOfMemory,
        )
        .then_reset(),
    ]
}

fn own(id: u32, size: u64) -> Command<'static> {
    blob(id, BlobMem::Host3d, BlobFlags::MAPPABLE, size, &[])
}

fn at_rest_until_the_limit() -> Vec<Command<'static>> {
    let all = 1..=WINDOW_MAPS as u32;
    let mapped = all.flat_map(|id| [own(id, PAGE), map(id, u64::from(id) * PAGE)]);
    let at_rest = [1, 2].into_iter().flat_map(|id| [unmap(id), unref(id)]);
    let others = [1, 2]
        .into_iter()
        .flat_map(|id| [host_blob(id, PAGE), map(id, (100 + u64::from(id)) * PAGE)]);
    let last = [own(100, PAGE)];
    mapped.chain(at_rest).chain(others).chain(last).collect()
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
    let page = [(DATA, 4096)];
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
        Row::command(
            "map until the limit, and one more",
            &until_the_limit(),
            map(100, 0),
            OutOfMemory,
        )
        .then_reset(),
    ]
}

fn until_the_limit() -> Vec<Command<'static>> {
    (1..=WINDOW_MAPS)
        .flat_map(|id| {
            let at = id * PAGE;
            [host_blob(id as u32, PAGE), map(id as u32, at)]
        })
        .chain([host_blob(100, PAGE)])
        .collect()
}

fn ends() -> Vec<Row> {
    let again = [map(1, 0), unmap(1)];
    let mut many = vec![host_blob(1, PAGE)];
    many.extend(again.iter().cycle().take(100).cloned());
    let mut refused = vec![
        Request::ok(&guest_blob(1, PAGE, &[])),
        Request::ok(&host_blob(2, PAGE)),
    ];
    for _ in 0..20 {
        refused.push(Request::ask(&map(1, 0), InvalidParameter));
        refused.push(Request::ask(&map(2, 1), InvalidParameter));
    }
    vec![
        Row::command(
            "unmap what was unreferenced while mapped",
            &[host_blob(1, PAGE), map(1, 0), unref(1)],
            unmap(1),
            InvalidResourceId,
        ),
        Row::requests(
            "a refused map leaves the place free",
            refused,
            Request::ask(&map(2, 0), ResponseKind::OkMapInfo),
        ),
        Row::command("map and unmap at one place many times", &many, unref(1), OK),
    ]
}
