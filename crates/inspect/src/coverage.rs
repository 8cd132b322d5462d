//! The caching of a whole mapping, page by page.

use crate::decode::{Caching, Decoder, x86};
use crate::error::{Error, Result};
use crate::kernel::{Found, Kernel};
use crate::page_table::Entry;

/// Last-level tables read for one mapping; larger mappings are sampled evenly.
const MAX_TABLES: u64 = 1024;
const TABLE_SPAN: u64 = 2 << 20;
const PAGE: u64 = 4096;

/// What the page table says about a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The caching of the pages that are present; `None` without any.
    pub caching: Option<Caching>,
    /// Pages of 4 KiB that were present among those looked at.
    pub present: u64,
    /// Pages without an entry among those looked at.
    pub absent: u64,
}

impl Coverage {
    fn add(&mut self, entry: Entry, pages: u64, decoder: Decoder) -> Result<()> {
        if !entry.is_leaf() {
            self.absent += pages;
            return Ok(());
        }
        let caching = decoder.leaf(entry.entry, entry.level);
        let caching = caching.ok_or(Error::Record {
            what: "a memory type that no user mapping has",
        })?;
        self.present += pages;
        self.caching = Some(self.caching.map_or(caching, |known| known.with(caching)));
        Ok(())
    }

    /// From the entries that the iterator sampled.
    pub(crate) fn of_samples(samples: &[Entry], decoder: Decoder) -> Result<Self> {
        let mut coverage = Self::default();
        for &sample in samples {
            coverage.add(sample, 1, decoder)?;
        }
        Ok(coverage)
    }
}

/// Reads the page table of the mapping around `asked`, where `first` was found; a
/// mapping inside one table needs no more queries.
pub(crate) fn read(
    kernel: &Kernel,
    pid: Option<u32>,
    asked: u64,
    first: Found,
    decoder: Decoder,
) -> Result<Coverage> {
    let (start, end) = (first.vma.start, first.vma.end);
    let whole = first.table.is_some() || first.entry.level > 1;
    let mut first = whole.then_some(first);
    let mut coverage = Coverage::default();
    let tables = (end.saturating_sub(start)).div_ceil(TABLE_SPAN);
    let stride = TABLE_SPAN * tables.div_ceil(MAX_TABLES).max(1);
    let mut address = start;
    while address < end {
        let known = first.take_if(|_| asked / TABLE_SPAN == address / TABLE_SPAN);
        let found = known.map_or_else(|| kernel.find(pid, address, true), Ok)?;
        let next = add_found(&mut coverage, &found, address, end, decoder)?;
        address = if stride > TABLE_SPAN {
            next.max(address.saturating_add(stride))
        } else {
            next
        };
    }
    Ok(coverage)
}

/// Adds what one query showed; the first address that it said nothing about.
fn add_found(
    coverage: &mut Coverage,
    found: &Found,
    address: u64,
    end: u64,
    decoder: Decoder,
) -> Result<u64> {
    let level = found.entry.level.clamp(1, 3);
    let until = |span: u64| (address / span + 1).saturating_mul(span).min(end);
    let Some(table) = &found.table else {
        let span = x86::leaf_bytes(level);
        let next = until(span);
        coverage.add(found.entry, (next - address).div_ceil(PAGE), decoder)?;
        return Ok(next);
    };
    let next = until(TABLE_SPAN);
    let first = (address / PAGE % 512) as usize;
    let count = (next - address).div_ceil(PAGE) as usize;
    for &entry in table.iter().skip(first).take(count) {
        coverage.add(Entry { entry, level: 1 }, 1, decoder)?;
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::x86::PatLayout;
    use crate::records::Vma;

    const DECODER: Decoder = Decoder::X86(PatLayout::LINUX);
    const WB: u64 = 0x0001_2345_6867;
    const WC: u64 = 0x0001_2345_686f;

    fn found(entry: u64, level: u8, table: Option<Vec<u64>>) -> Found {
        Found {
            vma: Vma {
                tgid: 0,
                start: 0,
                end: 1 << 40,
                flags: 0,
                page_prot: 0,
                page_offset: 0,
                inode: 0,
                is_dma_buf: false,
                samples: Vec::new(),
                pgd: 0,
            },
            entry: Entry { entry, level },
            table,
        }
    }

    fn table(of: &[(usize, u64)]) -> Option<Vec<u64>> {
        let mut table = vec![0; 512];
        for &(index, entry) in of {
            table[index] = entry;
        }
        Some(table)
    }

    #[test]
    fn one_odd_page_makes_a_mapping_mixed() {
        let mut coverage = Coverage::default();
        let found = found(WB, 1, table(&[(3, WB), (4, WB), (5, WC)]));
        let next = add_found(&mut coverage, &found, 3 * PAGE, 6 * PAGE, DECODER).unwrap();
        assert_eq!(next, 6 * PAGE);
        assert_eq!(coverage.caching, Some(Caching::Mixed));
        assert_eq!((coverage.present, coverage.absent), (3, 0));
    }

    #[test]
    fn neighbours_outside_the_mapping_do_not_count() {
        let mut coverage = Coverage::default();
        let found = found(WB, 1, table(&[(2, WC), (3, WB), (4, WC)]));
        add_found(&mut coverage, &found, 3 * PAGE, 4 * PAGE, DECODER).unwrap();
        assert_eq!(coverage.caching, Some(Caching::WriteBack));
    }

    #[test]
    fn holes_are_absent_not_cached() {
        let mut coverage = Coverage::default();
        let end = 4 * TABLE_SPAN;
        // Nothing even at level 3: a gigabyte without tables.
        let next = add_found(&mut coverage, &found(0, 3, None), 0, end, DECODER).unwrap();
        assert_eq!((next, coverage.caching), (end, None));
        assert_eq!(coverage.absent, end / PAGE);
    }

    #[test]
    fn large_pages_count_whole() {
        let mut coverage = Coverage::default();
        let large = found(0x4000_00e7, 2, None);
        let next = add_found(&mut coverage, &large, TABLE_SPAN, 4 * TABLE_SPAN, DECODER).unwrap();
        assert_eq!(next, 2 * TABLE_SPAN);
        assert_eq!(
            (coverage.present, coverage.caching),
            (512, Some(Caching::WriteBack))
        );
    }

    #[test]
    fn write_protected_is_refused() {
        let samples = [Entry {
            // PAT and PWT: slot 5.
            entry: 0xef,
            level: 1,
        }];
        assert!(Coverage::of_samples(&samples, DECODER).is_err());
    }
}
