//! What this machine's exporters are like: one row each.
//!
//! [`machine`] allocates from every exporter that needs no device; whoever can allocate
//! from a device (a DRM node, a camera) has the buffer looked at by [`examine`].

use std::error::Error;
use std::os::fd::AsFd;

use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::{Memfd, Options};
use landbridge_dmabuf::udmabuf::Udmabuf;
use landbridge_dmabuf::{DmaBuf, DmaBufOps};
use serde::Serialize;

use crate::inspector::Inspector;
use crate::map_info::MapInfo;

/// Bytes allocated from each exporter.
const BYTES: u64 = 64 * 1024;
/// The default size of a huge page on x86-64 and arm64 with small pages of 4 KiB.
const HUGE_BYTES: u64 = 2 << 20;

/// Something that was tried: its result, or the error in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome<T> {
    /// It worked.
    Is(T),
    /// It did not, or could not be told.
    Failed(String),
}

impl<T> Outcome<T> {
    fn of<E: Error>(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Is(value),
            Err(error) => Self::Failed(in_words(&error)),
        }
    }
}

/// An error and what caused it.
fn in_words(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let words: Vec<_> = causes.map(ToString::to_string).collect();
    words.join(": ")
}

/// One exporter.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was allocated, and from where.
    pub what: String,
    /// The exporter's name in fdinfo; `None` for a memfd, or if nothing was allocated.
    pub exporter: Option<String>,
    /// What its buffers are like, or why none could be had.
    pub found: Outcome<Found>,
}

/// What a buffer is like.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Its mapping; failed if the exporter refuses mmap or nobody knows the caching.
    pub mapping: Outcome<MapInfo>,
    /// Whether a mapping may start inside the buffer and then shows the right page.
    pub offset_honoured: Outcome<Option<bool>>,
    /// Whether its fences can be had as a sync_file.
    pub sync_file: Outcome<()>,
}

/// Looks at a buffer that the caller allocated.
#[must_use]
pub fn examine(inspector: &Inspector, what: &str, buffer: &DmaBuf) -> Row {
    let sync_file = DmaBufOps::export_sync_file(buffer, FenceUse::Read).map(|_| ());
    Row {
        what: what.to_owned(),
        exporter: buffer.exporter_name().ok(),
        found: Outcome::Is(Found {
            mapping: Outcome::of(inspector.map_info(buffer)),
            offset_honoured: Outcome::of(inspector.honours_offset(buffer)),
            sync_file: Outcome::of(sync_file),
        }),
    }
}

/// Allocates from everything that needs no device: memfds, udmabuf, heaps.
#[must_use]
pub fn machine(inspector: &Inspector) -> Vec<Row> {
    let mut rows = vec![
        control(inspector),
        row(inspector, "udmabuf of a memfd", udmabuf(BYTES, false)),
        row(
            inspector,
            "udmabuf of huge pages",
            udmabuf(HUGE_BYTES, true),
        ),
    ];
    match Heap::list() {
        Ok(heaps) => rows.extend(heaps.iter().map(|name| {
            let buffer = Heap::open(name).and_then(|heap| heap.allocate(BYTES));
            row(inspector, &format!("heap {name}"), buffer)
        })),
        Err(error) => rows.push(row(inspector, "heaps", Err(error))),
    }
    rows
}

fn udmabuf(bytes: u64, huge_pages: bool) -> landbridge_dmabuf::Result<DmaBuf> {
    let options = Options {
        huge_pages,
        allow_grow: false,
    };
    let memfd = Memfd::create("probe", bytes, options)?;
    Udmabuf::open()?.wrap(memfd)
}

fn row(inspector: &Inspector, what: &str, buffer: landbridge_dmabuf::Result<DmaBuf>) -> Row {
    match buffer {
        Ok(buffer) => examine(inspector, what, &buffer),
        Err(error) => Row {
            what: what.to_owned(),
            exporter: None,
            found: Outcome::Failed(in_words(&error)),
        },
    }
}

/// Ordinary shared memory, to compare with.
fn control(inspector: &Inspector) -> Row {
    let memfd = Memfd::create("probe", BYTES, Options::default());
    let found = memfd.map(|memfd| {
        let fd = memfd.as_fd();
        Found {
            mapping: Outcome::of(inspector.map_info_of_memory(fd)),
            offset_honoured: Outcome::of(inspector.honours_offset(fd)),
            sync_file: Outcome::Failed("not a dma-buf".to_owned()),
        }
    });
    Row {
        what: "memfd (control)".to_owned(),
        exporter: None,
        found: Outcome::of(found),
    }
}
