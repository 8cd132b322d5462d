//! Backing lists: entries that are no memory, lists that are too long, and
//! lists that come and go at the wrong time.

use landbridge_protocol_gpu::ErrorCode::{
    InvalidParameter, InvalidResourceId, OutOfMemory, Unspecified,
};
use landbridge_transport::guest::{PAGE, RAM_BASE};

use crate::commands::{Entries, attach, create_2d, detach, guest_blob, host_blob, patched, unref};
use crate::layout::{DATA, HOLE, RAM, RAM_END};
use crate::row::{OK, Request, Row};

/// Entries that can't be memory of a resource, whatever its kind.
fn bad() -> Vec<(&'static str, Vec<(u64, u32)>)> {
    let data = DATA;
    vec![
        ("below guest memory", vec![(RAM_BASE - PAGE, 4096)]),
        ("in a hole", vec![(HOLE, 4096)]),
        ("above guest memory", vec![(RAM_END, 4096)]),
        (
            "across the end of guest memory",
            vec![(RAM_END - PAGE, 8192)],
        ),
        (
            "across the start of guest memory",
            vec![(RAM_BASE - PAGE, 8192)],
        ),
        ("far away", vec![(1 << 60, 4096)]),
        ("half outside", vec![(data, 4096), (RAM_END, 4096)]),
        ("of length 0", vec![(data, 0)]),
        (
            "of length 0 after a good one",
            vec![(data, 4096), (data, 0)],
        ),
        (
            "of length 0 before a good one",
            vec![(data, 0), (data, 4096)],
        ),
        ("unaligned", vec![(data + 1, 4096)]),
        ("unaligned by 64", vec![(data + 64, 4096)]),
        (
            "ending within a page in the middle",
            vec![(data, 100), (data + 2 * PAGE, 4096)],
        ),
        ("wrapping", vec![(u64::MAX - 1, 4096)]),
        ("ending at 2^64", vec![(!0xfff, 4096)]),
        ("longer than all of memory", vec![(RAM_BASE, u32::MAX)]),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let flat = [create_2d(1, 4, 4)];
    let mut rows = Vec::new();
    for (name, list) in bad() {
        rows.push(Row::command(
            format!("2D backing {name}"),
            &flat,
            attach(1, &list),
            InvalidParameter,
        ));
        let size: u64 = list.iter().map(|(_, len)| u64::from(*len)).sum();
        let size = size.next_multiple_of(PAGE).max(PAGE);
        rows.push(Row::command(
            format!("blob backing {name}"),
            &[],
            guest_blob(1, size, &list),
            InvalidParameter,
        ));
    }
    rows.extend(lengths());
    rows.extend(order());
    rows
}

/// How many entries, and what the list says about that.
fn lengths() -> Vec<Row> {
    let data = DATA;
    let flat = [create_2d(1, 4, 4)];
    let apart = |count: usize| vec![(data, 4096); count];
    let mut rows = vec![
        Row::command(
            "2D backing of no entries",
            &flat,
            attach(1, &[]),
            InvalidParameter,
        ),
        Row::command(
            "2D backing of 16,385 entries",
            &flat,
            attach(1, &apart(16_385)),
            OutOfMemory,
        ),
        Row::command(
            "2D backing of more than the guest may pin",
            &flat,
            attach(1, &[(RAM_BASE, RAM as u32); 3]),
            OutOfMemory,
        ),
        Row::command(
            "blob backing of 16,385 entries",
            &[],
            guest_blob(1, 16_385 * PAGE, &apart(16_385)),
            OutOfMemory,
        ),
        Row::command(
            "blob backing past the sum of all entries",
            &[
                guest_blob(1, 16_000 * PAGE, &apart(16_000)),
                unref(1),
                guest_blob(2, PAGE, &apart(16_384)),
                guest_blob(3, PAGE, &apart(16_384)),
            ],
            guest_blob(4, PAGE, &[(data, 4096)]),
            OutOfMemory,
        )
        .then_reset(),
        Row::command(
            "16,384 entries in one go are one range",
            &flat,
            attach(
                1,
                &(0..4096)
                    .map(|page| (RAM_BASE + page * PAGE, 4096))
                    .collect::<Vec<_>>(),
            ),
            OK,
        ),
    ];
    for announced in [2, 17, 1 << 28, u32::MAX] {
        rows.push(Row::bytes(
            format!("2D backing announcing {announced} entries and bringing one"),
            &flat,
            0,
            patched(&attach(1, &[(data, 4096)]), 28, announced),
            InvalidParameter,
        ));
        rows.push(Row::bytes(
            format!("blob backing announcing {announced} entries and bringing one"),
            &[],
            0,
            patched(&guest_blob(1, PAGE, &[(data, 4096)]), 36, announced),
            InvalidParameter,
        ));
    }
    rows
}

/// Attached twice, detached twice, and gone in between.
fn order() -> Vec<Row> {
    let page: Entries<'_> = &[(DATA, 4096)];
    let outside: Entries<'_> = &[(RAM_END, 4096)];
    let flat = create_2d(1, 4, 4);
    let backed = [flat.clone(), attach(1, page)];
    let list = attach(1, page);
    vec![
        Row::command("attach twice", &backed, list.clone(), Unspecified),
        Row::command("attach to nothing", &[], list.clone(), InvalidResourceId),
        Row::command(
            "attach to resource 0",
            &[],
            attach(0, page),
            InvalidResourceId,
        ),
        Row::command(
            "attach to a host blob",
            &[host_blob(1, PAGE)],
            list.clone(),
            InvalidParameter,
        ),
        Row::command(
            "attach to a guest blob that has its memory",
            &[guest_blob(1, PAGE, page)],
            list.clone(),
            Unspecified,
        ),
        Row::command(
            "attach one page to a blob of a gigabyte",
            &[guest_blob(1, 1 << 30, &[])],
            list.clone(),
            InvalidParameter,
        ),
        Row::requests(
            "a failed attach leaves room for a good one",
            vec![
                Request::ok(&flat),
                Request::ask(&attach(1, outside), InvalidParameter),
            ],
            Request::ask(&list, OK),
        ),
        Row::command(
            "detach without attach",
            std::slice::from_ref(&flat),
            detach(1),
            Unspecified,
        ),
        Row::command("detach nothing", &[], detach(1), InvalidResourceId),
        Row::command(
            "detach a host blob",
            &[host_blob(1, PAGE)],
            detach(1),
            Unspecified,
        ),
        Row::command(
            "detach twice",
            &[flat.clone(), list.clone(), detach(1)],
            detach(1),
            Unspecified,
        ),
        Row::command(
            "detach after a failed attach",
            &[flat.clone(), attach(2, page)][..1],
            detach(1),
            Unspecified,
        ),
        Row::command("unref without detach", &backed, unref(1), OK),
        Row::command(
            "attach to what was unreferenced without detach",
            &[flat, list.clone(), unref(1)],
            list,
            InvalidResourceId,
        ),
        Row::command(
            "attach outside memory to nothing",
            &[],
            attach(1, outside),
            InvalidResourceId,
        ),
    ]
}
