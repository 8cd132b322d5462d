//! The rows of the error table about heaps and sync_files
//! (drivers/dma-buf/{dma-heap,sync_file}.c).

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::Result;

use crate::checks::Checks;
use crate::exporters::{Access, Exporter as _, SystemHeap};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::dma_buf::{
    HEAP_ALLOC, HeapAlloc, SYNC_FILE_INFO, SYNC_SET_DEADLINE, SyncFileInfo, SyncMerge,
    SyncSetDeadline, export_sync_file, heap_alloc, sync_merge,
};
use crate::sys::ioctl::{ioctl, ioctl_value};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "heaps_and_sync_files_refuse_what_the_table_says",
    claim: "every refusal of a heap and of a sync_file is the error that the table of facts has for it",
    storey: Storey::Host,
    needs: Needs { ..Needs::NOTHING },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    heap(checks)?;
    sync_file(checks)
}

fn heap(checks: &mut Checks) -> Result<()> {
    let heap = File::open("/dev/dma_heap/system")?;
    let right = HeapAlloc {
        len: 4096,
        fd_flags: Access::ReadWrite.open_flags(),
        ..HeapAlloc::default()
    };
    let wrong = [
        ("no bytes", HeapAlloc { len: 0, ..right }),
        ("a descriptor to begin with", HeapAlloc { fd: 1, ..right }),
        (
            "unknown descriptor flags",
            HeapAlloc {
                fd_flags: 1 << 30,
                ..right
            },
        ),
        (
            "heap flags",
            HeapAlloc {
                heap_flags: 1,
                ..right
            },
        ),
    ];
    checks.answers("heap: a page", heap_alloc(&heap, right), "ok");
    for (what, alloc) in wrong {
        checks.answers(&format!("heap: {what}"), heap_alloc(&heap, alloc), "EINVAL");
    }
    checks.answers(
        "heap: a bad pointer",
        ioctl_value(&heap, HEAP_ALLOC, 1),
        "EFAULT",
    );
    Ok(())
}

fn sync_file(checks: &mut Checks) -> Result<()> {
    let buffer = SystemHeap::open()?.export(4096, Access::ReadWrite)?;
    let file = export_sync_file(&buffer, 3)?;
    let right = SyncMerge {
        fd2: file.as_raw_fd(),
        ..SyncMerge::default()
    };
    for (what, merge, want) in [
        ("a merge with itself", right, "ok"),
        (
            "a merge with flags",
            SyncMerge { flags: 1, ..right },
            "EINVAL",
        ),
        (
            "a merge with padding",
            SyncMerge { pad: 1, ..right },
            "EINVAL",
        ),
        (
            "a merge with nothing",
            SyncMerge { fd2: 999, ..right },
            "ENOENT",
        ),
    ] {
        checks.answers(what, sync_merge(&file, merge), want);
    }
    let right = SyncFileInfo::default();
    for (what, mut info, want) in [
        ("info", right, "ok"),
        (
            "info with flags",
            SyncFileInfo { flags: 1, ..right },
            "EINVAL",
        ),
        (
            "info with padding",
            SyncFileInfo { pad: 1, ..right },
            "EINVAL",
        ),
    ] {
        checks.answers(what, ioctl(&file, SYNC_FILE_INFO, &mut info), want);
    }
    for (what, pad, want) in [
        ("a deadline", 0, "ok"),
        ("a deadline with padding", 1, "EINVAL"),
    ] {
        let mut deadline = SyncSetDeadline {
            deadline_ns: 1,
            pad,
        };
        checks.answers(what, ioctl(&file, SYNC_SET_DEADLINE, &mut deadline), want);
    }
    Ok(())
}
