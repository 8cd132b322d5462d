//! Who maps a buffer, and with what caching: for whoever told somebody that it has
//! just one.

use std::collections::BTreeMap;

use crate::decode::Caching;
use crate::error::Result;
use crate::inspector::Inspector;
use crate::map_info::Source;
use crate::procfs::holders;

/// A mapping of a dma-buf by some process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The process, in the initial namespace.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// First address.
    pub start: u64,
    /// How it is cached.
    pub caching: Caching,
    /// How that is known.
    pub source: Source,
}

/// All mappings of these dma-bufs, given and found by inode, each given with its
/// exporter's name in the kernel. Exporters that put another file in the
/// mapping's place (i915) are not seen.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable) without the privilege.
pub fn of_buffers(
    inspector: &Inspector,
    buffers: &BTreeMap<u64, String>,
) -> Result<BTreeMap<u64, Vec<Alias>>> {
    let all = inspector.mappings(None)?;
    let mut found: BTreeMap<u64, Vec<Alias>> = BTreeMap::new();
    for vma in all.iter().filter(|vma| vma.is_dma_buf) {
        let Some(exporter) = buffers.get(&vma.inode) else {
            continue;
        };
        // A mapping whose bits mean nothing here proves no difference.
        let Ok(info) = inspector.describe_listed(vma, Some(exporter)) else {
            continue;
        };
        if let Some(caching) = info.caching {
            found.entry(vma.inode).or_default().push(Alias {
                pid: vma.tgid,
                command: holders::command(vma.tgid),
                start: vma.start,
                caching,
                source: info.source,
            });
        }
    }
    Ok(found)
}
