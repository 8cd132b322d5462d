//! Every dma-buf of the machine, or of one process, with all that can be told of it.
//!
//! The data behind `landbridge inspect` and `top`. What this process may not see is
//! said: `availability` for the ways of knowing, `unreadable_processes` for holders.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::Serialize;

use crate::bufinfo;
use crate::decode::Caching;
use crate::environment;
use crate::error::Strength;
use crate::inspector::{Availability, Inspector};
use crate::map_info::Source;
use crate::procfs::{fdinfo, holders, smaps};
use crate::records::{Importers, KernelBuffer};

/// What was found at one time.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Buffers by inode.
    pub buffers: Vec<Buffer>,
    /// Where the list of buffers came from.
    pub list: ListSource,
    /// Each way of knowing and what it lacks.
    pub availability: Vec<Availability>,
    /// Processes that could not be looked into.
    pub unreadable_processes: usize,
    /// When.
    pub at: SystemTime,
}

/// Where a list of buffers came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListSource {
    /// The kernel's iterator: all buffers.
    Kernel,
    /// debugfs: all buffers.
    Bufinfo,
    /// Descriptors of processes: buffers that only the kernel or a mapping holds are
    /// missing, and those of processes that can't be looked into.
    Processes,
}

/// One dma-buf.
#[derive(Clone, Debug, Serialize)]
pub struct Buffer {
    /// Its identity, `st_ino`.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// The exporter's name.
    pub exporter: String,
    /// The name that user space gave it.
    pub name: Option<String>,
    /// Whether the exporter can map it; `None` if not known.
    pub mappable: Option<bool>,
    /// Attached devices; `None` if not known.
    pub importers: Option<Importers>,
    /// Processes with a descriptor or a mapping.
    pub holders: Vec<Holder>,
    /// Pending fences; `None` if no descriptor could be had.
    pub fences: Option<Fences>,
    /// Whether two mappings, or two pages of one, are cached differently.
    pub caching_differs: bool,
}

/// A process that holds a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// Its descriptors of the buffer.
    pub fds: Vec<u32>,
    /// Its mappings of the buffer.
    pub mappings: Vec<Mapping>,
}

/// A mapping of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address past the end.
    pub end: u64,
    /// Offset in the buffer, in bytes.
    pub offset: u64,
    /// Its caching; `None` where nobody knows.
    pub caching: Option<Caching>,
    /// How that is known; an estimate where it could not be read.
    pub source: Option<Source>,
    /// Whether get_user_pages works; `None` if not known.
    pub gup: Option<bool>,
}

impl Mapping {
    /// Its caching and how that is known.
    #[must_use]
    pub fn known(&self) -> Option<(Caching, Source)> {
        self.caching.zip(self.source)
    }
}

/// Fences of a buffer, as poll tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fences {
    /// Somebody is still writing.
    pub writing: bool,
    /// Somebody is still reading or writing.
    pub busy: bool,
}

/// Looks at the whole machine, or at the buffers of one process.
#[must_use]
pub fn collect(inspector: &Inspector, only: Option<u32>) -> Report {
    let pids = only.map_or_else(holders::processes, |pid| vec![pid]);
    let walk = holders::walk(&pids);
    let (list, listed) = list(inspector, &walk.fds);
    let mut found = Holders::default();
    for held in &walk.fds {
        found.of(held.inode, held.pid).fds.push(held.fd);
    }
    let exporters: BTreeMap<_, _> = listed
        .iter()
        .map(|listed| (listed.inode, listed.exporter.as_str()))
        .collect();
    add_mappings(&mut found, inspector, &exporters, &pids, only);
    let mut buffers: Vec<Buffer> = listed
        .into_iter()
        .map(|listed| found.complete(listed))
        .filter(|buffer| only.is_none() || !buffer.holders.is_empty())
        .collect();
    buffers.sort_by_key(|buffer| buffer.inode);
    Report {
        buffers,
        list,
        availability: inspector.availability(),
        unreadable_processes: walk.unreadable,
        at: SystemTime::now(),
    }
}

/// The best list of buffers that can be had.
fn list(inspector: &Inspector, fds: &[holders::HeldFd]) -> (ListSource, Vec<KernelBuffer>) {
    if let Ok(all) = inspector.kernel_buffers() {
        return (ListSource::Kernel, all);
    }
    if let Ok(all) = bufinfo::read() {
        return (ListSource::Bufinfo, all);
    }
    let mut all = BTreeMap::new();
    for held in fds {
        if let Some(info) = fdinfo::of_process(held.pid, held.fd) {
            all.entry(held.inode).or_insert(KernelBuffer {
                inode: held.inode,
                size: info.size,
                mappable: None,
                exporter: info.exporter,
                name: info.name,
                importers: None,
            });
        }
    }
    (ListSource::Processes, all.into_values().collect())
}

/// Holders by buffer and process.
#[derive(Default)]
struct Holders(BTreeMap<u64, BTreeMap<u32, Holder>>);

impl Holders {
    fn of(&mut self, inode: u64, pid: u32) -> &mut Holder {
        let of_buffer = self.0.entry(inode).or_default();
        of_buffer.entry(pid).or_insert_with(|| Holder {
            pid,
            command: holders::command(pid),
            fds: Vec::new(),
            mappings: Vec::new(),
        })
    }

    fn complete(&mut self, listed: KernelBuffer) -> Buffer {
        let holders = self.0.remove(&listed.inode).unwrap_or_default();
        let mut holders: Vec<_> = holders.into_values().collect();
        let caching_differs = caching_differs(&holders);
        estimate(&listed.exporter, &mut holders);
        Buffer {
            inode: listed.inode,
            size: listed.size,
            exporter: listed.exporter,
            name: listed.name,
            mappable: listed.mappable,
            importers: listed.importers,
            fences: fences(listed.inode, &holders),
            caching_differs,
            holders,
        }
    }
}

fn add_mappings(
    found: &mut Holders,
    inspector: &Inspector,
    exporters: &BTreeMap<u64, &str>,
    pids: &[u32],
    only: Option<u32>,
) {
    // The kernel's records name processes by their ids in the initial namespace.
    let by_kernel = environment::in_initial_pid_namespace()
        .then(|| inspector.mappings(only).ok())
        .flatten();
    let Some(vmas) = by_kernel else {
        return add_mappings_of_procfs(found, pids);
    };
    for vma in vmas.iter().filter(|vma| vma.is_dma_buf) {
        // A buffer that is not listed was made after the list.
        let exporter = exporters.get(&vma.inode).copied();
        let info = inspector.describe_listed(vma, exporter.or(Some(""))).ok();
        found.of(vma.inode, vma.tgid).mappings.push(Mapping {
            start: vma.start,
            end: vma.end,
            offset: vma.page_offset.saturating_mul(4096),
            caching: info.and_then(|info| info.caching),
            source: info.map(|info| info.source),
            gup: Some(vma.gup()),
        });
    }
}

fn add_mappings_of_procfs(found: &mut Holders, pids: &[u32]) {
    for &pid in pids {
        // smaps walks page tables; it is read only where it has something to tell.
        if smaps::dma_bufs_mapped_by(pid).is_none_or(|mapped| mapped.is_empty()) {
            continue;
        }
        let entries = smaps::of_process(pid).unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.is_dma_buf()) {
            found.of(entry.inode, pid).mappings.push(Mapping {
                start: entry.range.start,
                end: entry.range.end,
                offset: entry.offset,
                caching: None,
                source: None,
                gup: entry.gup(),
            });
        }
    }
}

/// Whether the mappings that are known disagree.
fn caching_differs(holders: &[Holder]) -> bool {
    let mappings = holders.iter().flat_map(|holder| &holder.mappings);
    let together = mappings
        .filter_map(|mapping| mapping.caching)
        .reduce(Caching::with);
    together == Some(Caching::Mixed)
}

/// What is written down about the exporter, for mappings that could not be read.
fn estimate(exporter: &str, holders: &mut [Holder]) {
    let Ok(estimate) = Inspector::estimate(exporter, None) else {
        return;
    };
    let mappings = holders.iter_mut().flat_map(|holder| &mut holder.mappings);
    for mapping in mappings.filter(|mapping| mapping.caching.is_none()) {
        mapping.caching = estimate.caching;
        mapping.source = estimate.caching.map(|_| estimate.source);
    }
}

/// Asks poll, through a copy of some holder's descriptor.
fn fences(inode: u64, holders: &[Holder]) -> Option<Fences> {
    let fd = holders
        .iter()
        .flat_map(|holder| holder.fds.iter().map(|&fd| (holder.pid, fd)))
        .find_map(|(pid, fd)| copy(pid, fd))?;
    // The descriptor may have been closed and its number used again.
    if rustix::fs::fstat(&fd).ok()?.st_ino != inode {
        return None;
    }
    let mut fds = [PollFd::new(&fd, PollFlags::IN | PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).ok()?;
    let idle = fds[0].revents();
    Some(Fences {
        writing: !idle.contains(PollFlags::IN),
        busy: !idle.contains(PollFlags::IN | PollFlags::OUT),
    })
}

fn copy(pid: u32, fd: u32) -> Option<OwnedFd> {
    let fd = i32::try_from(fd).ok()?;
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process.as_fd(), fd, PidfdGetfdFlags::empty()).ok()
}

impl Report {
    /// Whether a way of knowing was available.
    #[must_use]
    pub fn has(&self, strength: Strength) -> bool {
        let mut ways = self.availability.iter();
        ways.any(|way| way.strength == strength && way.missing.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(cachings: &[Option<Caching>]) -> Holder {
        let mapping = |&caching: &Option<Caching>| Mapping {
            start: 0x1000,
            end: 0x2000,
            offset: 0,
            caching,
            source: caching.map(|_| Source::Pte),
            gup: None,
        };
        Holder {
            pid: 1,
            command: "init".into(),
            fds: vec![3],
            mappings: cachings.iter().map(mapping).collect(),
        }
    }

    #[test]
    fn differing_aliases_are_flagged() {
        use Caching::{Mixed, WriteBack, WriteCombining};
        let differs = |cachings: &[Option<Caching>]| caching_differs(&[holder(cachings)]);
        assert!(differs(&[Some(WriteBack), Some(WriteCombining)]));
        assert!(differs(&[Some(Mixed)]));
        assert!(!differs(&[Some(WriteBack), None, Some(WriteBack)]));
        assert!(!differs(&[]));
        let two = [holder(&[Some(WriteBack)]), holder(&[Some(WriteCombining)])];
        assert!(caching_differs(&two));
    }

    #[test]
    fn only_what_could_not_be_read_is_estimated() {
        let mut holders = [holder(&[Some(Caching::WriteCombining), None])];
        estimate("udmabuf", &mut holders);
        let known: Vec<_> = holders[0].mappings.iter().map(Mapping::known).collect();
        let expected = [
            Some((Caching::WriteCombining, Source::Pte)),
            Some((Caching::WriteBack, Source::Rule)),
        ];
        assert_eq!(known, expected);
        let mut holders = [holder(&[None])];
        estimate("i915", &mut holders);
        assert_eq!(holders[0].mappings[0].known(), None);
    }
}
