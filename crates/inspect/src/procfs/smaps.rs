//! `/proc/PID/smaps`: the flags of each mapping.
//!
//! `Documentation/filesystems/proc.rst`, "VmFlags": `pf` is a mapping of bare page
//! frames, `io` one of device memory; either one stops get_user_pages. `mm` alone
//! does not.

use std::fs;
use std::ops::Range;

/// One mapping as smaps shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmapsEntry {
    /// Addresses.
    pub range: Range<u64>,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Inode of the mapped file, 0 without one.
    pub inode: u64,
    /// The path column; `/dmabuf:NAME` for a dma-buf.
    pub path: String,
    /// The two-letter flags; empty where only `maps` was read.
    pub flags: Vec<String>,
}

impl SmapsEntry {
    /// Whether get_user_pages can follow the mapping; `None` without flags.
    #[must_use]
    pub fn gup(&self) -> Option<bool> {
        if self.flags.is_empty() {
            return None;
        }
        Some(!self.flags.iter().any(|flag| flag == "pf" || flag == "io"))
    }

    /// Whether the mapped file is a dma-buf.
    #[must_use]
    pub fn is_dma_buf(&self) -> bool {
        self.path.starts_with("/dmabuf:")
    }
}

/// Parses smaps or maps; lines of other forms are passed over.
#[must_use]
pub fn parse(text: &str) -> Vec<SmapsEntry> {
    let mut entries: Vec<SmapsEntry> = Vec::new();
    for line in text.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            if let Some(entry) = entries.last_mut() {
                entry.flags = flags.split_whitespace().map(str::to_owned).collect();
            }
        } else if let Some(entry) = heading(line) {
            entries.push(entry);
        }
    }
    entries
}

/// `start-end perms offset major:minor inode path`, numbers in hexadecimal but the inode.
fn heading(line: &str) -> Option<SmapsEntry> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let mut columns = rest.splitn(5, ' ').skip(1);
    let offset = columns.next()?;
    let _device = columns.next()?;
    let inode = columns.next()?;
    let path = columns.next().unwrap_or_default().trim_start();
    Some(SmapsEntry {
        range: hex(start)?..hex(end)?,
        offset: hex(offset)?,
        inode: inode.parse().ok()?,
        path: path.to_owned(),
        flags: Vec::new(),
    })
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// All mappings of a process with their flags; `None` if they can't be read.
#[must_use]
pub fn of_process(pid: u32) -> Option<Vec<SmapsEntry>> {
    fs::read(format!("/proc/{pid}/smaps"))
        .ok()
        .map(|bytes| parse(&String::from_utf8_lossy(&bytes)))
}

/// Mappings of dma-bufs of a process, from the cheaper `maps`; flags stay empty.
#[must_use]
pub fn dma_bufs_mapped_by(pid: u32) -> Option<Vec<SmapsEntry>> {
    let bytes = fs::read(format!("/proc/{pid}/maps")).ok()?;
    let mut entries = parse(&String::from_utf8_lossy(&bytes));
    entries.retain(SmapsEntry::is_dma_buf);
    Some(entries)
}

/// Whether get_user_pages can follow the mapping at `address`.
#[must_use]
pub fn gup_at(pid: u32, address: u64) -> Option<bool> {
    let entries = of_process(pid)?;
    entries
        .iter()
        .find(|entry| entry.range.contains(&address))?
        .gup()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
7f1000000000-7f1000004000 rw-s 00001000 00:0d 77                         /dmabuf:a name\n\
Size:                 16 kB\n\
VmFlags: rd wr sh mr mw me ms pf io de dd sd\n\
7f1000004000-7f1000005000 rw-p 00000000 00:00 0 \n\
VmFlags: rd wr mr mw me ac sd\n\
7f1000005000-7f1000006000 rw-s 00000000 00:0d 78                         /dmabuf:\n\
VmFlags: rd wr sh mm\n";

    #[test]
    fn flags_belong_to_the_mapping_above() {
        let entries = parse(TEXT);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].range, 0x7f10_0000_0000..0x7f10_0000_4000);
        assert_eq!((entries[0].offset, entries[0].inode), (0x1000, 77));
        assert_eq!(entries[0].path, "/dmabuf:a name");
        assert_eq!(entries[0].gup(), Some(false));
        assert_eq!(entries[1].gup(), Some(true));
        assert!(!entries[1].is_dma_buf());
        assert!(entries[2].is_dma_buf());
        assert_eq!(entries[2].gup(), Some(true));
    }

    #[test]
    fn maps_has_no_flags() {
        let entries = parse(TEXT.lines().next().unwrap());
        assert_eq!(entries[0].gup(), None);
    }

    #[test]
    fn reads_this_process() {
        let value = 0u8;
        let address = &raw const value as u64;
        assert_eq!(gup_at(std::process::id(), address), Some(true));
    }
}
