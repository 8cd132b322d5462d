//! What this machine's exporters are like: one row each.
//!
//! [`samples`] allocates from every exporter that needs no device; whoever can allocate
//! from a device (a DRM node, a camera) adds samples of its own. [`examine`] looks at one.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};

use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::{Memfd, Options};
use landbridge_dmabuf::udmabuf::Udmabuf;
use landbridge_dmabuf::{DmaBuf, DmaBufOps};
use serde::Serialize;

use crate::inspector::Inspector;
use crate::map_info::MapInfo;
use crate::rules;

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
    /// What came of it.
    pub fn of<E: Error>(result: Result<T, E>) -> Self {
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

/// Memory that was allocated from an exporter.
#[derive(Debug)]
pub struct Sample {
    /// What was allocated, and from where.
    pub what: String,
    /// The driver, where the exporter's name does not tell.
    pub driver: Option<String>,
    /// The memory, or why none could be had.
    pub memory: Outcome<Memory>,
}

/// A sample's memory.
#[derive(Debug)]
pub enum Memory {
    /// Ordinary shared memory, to compare with.
    Memfd(Memfd),
    /// A dma-buf.
    DmaBuf(DmaBuf),
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Memfd(memfd) => memfd.as_fd(),
            Self::DmaBuf(buffer) => buffer.as_fd(),
        }
    }
}

impl Sample {
    /// A dma-buf, or why there is none.
    pub fn new<E: Error>(
        what: impl Into<String>,
        driver: Option<&str>,
        buffer: Result<DmaBuf, E>,
    ) -> Self {
        Self {
            what: what.into(),
            driver: driver.map(str::to_owned),
            memory: Outcome::of(buffer.map(Memory::DmaBuf)),
        }
    }
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
    /// Whether the exporter may take the memory away from its importers, as it is
    /// written down; `None` where nothing is.
    pub revocable: Option<bool>,
}

/// Looks at memory that somebody allocated.
#[must_use]
pub fn examine(inspector: &Inspector, sample: &Sample) -> Row {
    let (exporter, found) = match &sample.memory {
        Outcome::Failed(why) => (None, Outcome::Failed(why.clone())),
        Outcome::Is(Memory::Memfd(memfd)) => (None, Outcome::Is(of_memfd(inspector, memfd))),
        Outcome::Is(Memory::DmaBuf(buffer)) => {
            let exporter = buffer.exporter_name().ok();
            let driver = sample.driver.as_deref();
            let found = of_dma_buf(inspector, buffer, exporter.as_deref(), driver);
            (exporter, Outcome::Is(found))
        }
    };
    Row {
        what: sample.what.clone(),
        exporter,
        found,
    }
}

fn of_dma_buf(
    inspector: &Inspector,
    buffer: &DmaBuf,
    exporter: Option<&str>,
    driver: Option<&str>,
) -> Found {
    let sync_file = DmaBufOps::export_sync_file(buffer, FenceUse::Read).map(|_| ());
    Found {
        mapping: Outcome::of(inspector.map_info_of_driver(buffer, driver)),
        offset_honoured: Outcome::of(inspector.honours_offset(buffer)),
        sync_file: Outcome::of(sync_file),
        revocable: exporter.and_then(|exporter| rules::revocable(exporter, driver)),
    }
}

fn of_memfd(inspector: &Inspector, memfd: &Memfd) -> Found {
    Found {
        mapping: Outcome::of(inspector.map_info_of_memory(memfd)),
        offset_honoured: Outcome::of(inspector.honours_offset(memfd)),
        sync_file: Outcome::Failed("not a dma-buf".to_owned()),
        revocable: Some(false),
    }
}

/// Allocates from everything that needs no device: memfds, udmabuf, heaps.
#[must_use]
pub fn samples() -> Vec<Sample> {
    let mut samples = vec![
        Sample {
            what: "memfd (control)".to_owned(),
            driver: None,
            memory: Outcome::of(memfd(BYTES, false).map(Memory::Memfd)),
        },
        Sample::new("udmabuf of a memfd", None, udmabuf(BYTES, false)),
        Sample::new("udmabuf of huge pages", None, udmabuf(HUGE_BYTES, true)),
    ];
    match Heap::list() {
        Ok(heaps) => samples.extend(heaps.iter().map(|name| {
            let buffer = Heap::open(name).and_then(|heap| heap.allocate(BYTES));
            Sample::new(format!("heap {name}"), None, buffer)
        })),
        Err(error) => samples.push(Sample::new("heaps", None, Err(error))),
    }
    samples
}

fn memfd(bytes: u64, huge_pages: bool) -> landbridge_dmabuf::Result<Memfd> {
    let options = Options {
        huge_pages,
        ..Options::default()
    };
    Memfd::create("probe", bytes, options)
}

fn udmabuf(bytes: u64, huge_pages: bool) -> landbridge_dmabuf::Result<DmaBuf> {
    Udmabuf::open()?.wrap(memfd(bytes, huge_pages)?)
}
