//! Reads what the programs wrote.

use crate::error::{Error, Result};
use crate::page_table::Entry;
use crate::programs::{buffers, mappings, query};

/// `DMA_BUF_MAGIC` of `include/uapi/linux/magic.h`.
pub(crate) const DMA_BUF_MAGIC: u64 = 0x444d_4142;
/// Bits of `vm_flags` (`include/linux/mm.h`).
const VM_PFNMAP: u64 = 1 << 10;
const VM_IO: u64 = 1 << 14;
const VM_MIXEDMAP: u64 = 1 << 28;

/// One mapping as the kernel keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vma {
    /// The process, in the initial namespace; 0 where the caller asked about itself.
    pub tgid: u32,
    /// First address.
    pub start: u64,
    /// First address past the end.
    pub end: u64,
    /// `vm_flags`.
    pub flags: u64,
    /// `vm_page_prot`.
    pub page_prot: u64,
    /// Offset in the file, in pages.
    pub page_offset: u64,
    /// The mapped file's inode; 0 without a file.
    pub inode: u64,
    /// Whether the mapped file is a dma-buf. Exporters that swap the file answer no.
    pub is_dma_buf: bool,
    /// Entries that were read of the mapping's page table.
    pub samples: Vec<Entry>,
    pub(crate) pgd: u64,
}

impl Vma {
    /// Whether get_user_pages can follow the mapping.
    #[must_use]
    pub fn gup(&self) -> bool {
        self.flags & (VM_PFNMAP | VM_IO) == 0
    }

    /// Whether its pages are ordinary memory, which the kernel itself maps.
    pub(crate) fn is_ordinary(&self) -> bool {
        self.flags & (VM_PFNMAP | VM_IO | VM_MIXEDMAP) == 0
    }

    /// Whether it is marked as device memory.
    pub(crate) fn is_io(&self) -> bool {
        self.flags & VM_IO != 0
    }

    /// Whether the mapping is of the kind that drivers make.
    #[must_use]
    pub fn is_of_a_driver(&self) -> bool {
        self.is_dma_buf || !self.is_ordinary()
    }

    fn check(self) -> Result<Self> {
        let aligned = self.start.is_multiple_of(4096) && self.end.is_multiple_of(4096);
        if aligned && self.start < self.end {
            return Ok(self);
        }
        Err(Error::Record {
            what: "a mapping of no size",
        })
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u64::from_ne_bytes(*word))
}

fn sample(bytes: &[u8], level: usize, entry: usize) -> Entry {
    Entry {
        entry: word(bytes, entry),
        level: u8::try_from(word(bytes, level)).unwrap_or(0),
    }
}

/// Mappings as the iterator wrote them, each once although threads share them.
pub(crate) fn mappings(bytes: &[u8]) -> Result<Vec<Vma>> {
    use mappings::{RECORD_BYTES, at};
    let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() {
        return Err(Error::Record {
            what: "a cut mapping",
        });
    }
    let parse = |record: &[u8; RECORD_BYTES]| {
        let samples = [
            sample(record, at::FIRST_LEVEL, at::FIRST_ENTRY),
            sample(record, at::LAST_LEVEL, at::LAST_ENTRY),
        ];
        let vma = Vma {
            tgid: word(record, at::TGID) as u32,
            start: word(record, at::START),
            end: word(record, at::END),
            flags: word(record, at::FLAGS),
            page_prot: word(record, at::PAGE_PROT),
            page_offset: word(record, at::PAGE_OFFSET),
            inode: word(record, at::INODE),
            is_dma_buf: word(record, at::MAGIC) == DMA_BUF_MAGIC,
            samples: samples
                .into_iter()
                .filter(|entry| entry.level != 0)
                .collect(),
            pgd: word(record, at::PGD),
        };
        vma.check()
    };
    let mut all: Vec<Vma> = records.iter().map(parse).collect::<Result<_>>()?;
    all.sort_by_key(|vma| (vma.tgid, vma.start));
    all.dedup_by_key(|vma| (vma.tgid, vma.start));
    Ok(all)
}

/// The mapping and entry of a query's context.
pub(crate) fn query_answer(context: &[u8]) -> Result<(Vma, Entry)> {
    use query::at;
    let get = |at: i16| word(context, at as usize);
    let entry = sample(context, at::LEVEL as usize, at::ENTRY as usize);
    let vma = Vma {
        tgid: get(at::PID) as u32,
        start: get(at::START),
        end: get(at::END),
        flags: get(at::FLAGS),
        page_prot: get(at::PAGE_PROT),
        page_offset: get(at::PAGE_OFFSET),
        inode: get(at::INODE),
        is_dma_buf: get(at::MAGIC) == DMA_BUF_MAGIC,
        samples: Vec::new(),
        pgd: get(at::PGD),
    };
    Ok((vma.check()?, entry))
}

/// One dma-buf of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelBuffer {
    /// What fstat calls `st_ino`: the buffer's identity.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Whether the exporter has an mmap operation; `None` where that was not asked.
    pub mappable: Option<bool>,
    /// The exporter's name.
    pub exporter: String,
    /// The name that user space gave it.
    pub name: Option<String>,
    /// Names of the attached devices; `None` where they can't be read.
    pub importers: Option<Importers>,
}

/// The devices attached to a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Importers {
    /// Device names.
    pub devices: Vec<String>,
    /// Whether these are all; the list may have changed while it was read.
    pub complete: bool,
}

/// Buffers as the iterator wrote them.
pub(crate) fn buffers(bytes: &[u8]) -> Result<Vec<KernelBuffer>> {
    let mut cursor = Cursor(bytes);
    let mut all = Vec::new();
    while !cursor.0.is_empty() {
        all.push(buffer(&mut cursor)?);
    }
    Ok(all)
}

fn buffer(cursor: &mut Cursor<'_>) -> Result<KernelBuffer> {
    use buffers::{HEADER_BYTES, MARK, at};
    let header = cursor.take(HEADER_BYTES)?;
    if word(header, at::MARK) != MARK {
        return Err(Error::Record {
            what: "a buffer without its mark",
        });
    }
    let exporter = cursor.string()?;
    let name = cursor.string()?;
    Ok(KernelBuffer {
        inode: word(header, at::INODE),
        size: word(header, at::SIZE),
        mappable: Some(word(header, at::MAPPABLE) == 1),
        exporter,
        name: (!name.is_empty()).then_some(name),
        importers: importers(cursor)?,
    })
}

fn importers(cursor: &mut Cursor<'_>) -> Result<Option<Importers>> {
    use buffers::tag;
    let mut devices = Vec::new();
    loop {
        let complete = match cursor.take(1)?.first().copied() {
            Some(tag::IMPORTER) => {
                devices.push(cursor.string()?);
                continue;
            }
            Some(tag::COMPLETE) => true,
            Some(tag::CUT) => false,
            Some(tag::UNKNOWN) => return Ok(None),
            _ => {
                return Err(Error::Record {
                    what: "an unknown tag",
                });
            }
        };
        return Ok(Some(Importers { devices, complete }));
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Error::Record {
            what: "a cut buffer",
        })?;
        self.0 = rest;
        Ok(taken)
    }

    fn string(&mut self) -> Result<String> {
        let end = self.0.iter().position(|&byte| byte == 0);
        let end = end.ok_or(Error::Record {
            what: "a string without end",
        })?;
        let text = self.take(end + 1)?;
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(tgid: u64, start: u64, end: u64) -> Vec<u8> {
        let mut words = [0u64; mappings::RECORD_BYTES / 8];
        words[0] = tgid;
        words[1] = start;
        words[2] = end;
        words[3] = VM_IO;
        words[7] = DMA_BUF_MAGIC;
        words[8] = 1;
        words[9] = 0x86f;
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn mappings_come_once_and_sorted() {
        let parts = [
            record(2, 0x1000, 0x2000),
            record(1, 0x5000, 0x6000),
            record(1, 0x5000, 0x6000),
        ];
        let all = mappings(&parts.concat()).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].tgid, all[1].tgid), (1, 2));
        assert!(all[0].is_dma_buf && !all[0].gup());
        assert_eq!(
            all[0].samples,
            [Entry {
                entry: 0x86f,
                level: 1
            }]
        );
    }

    #[test]
    fn senseless_mappings_are_errors() {
        assert!(mappings(&record(1, 0x2000, 0x2000)).is_err());
        assert!(mappings(&record(1, 0x2001, 0x4000)).is_err());
        assert!(mappings(&record(1, 0x1000, 0x2000)[1..]).is_err());
    }

    fn stream(parts: &[&[u8]]) -> Vec<u8> {
        let words = [buffers::MARK, 77, 8192, 1];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(parts.concat());
        bytes
    }

    #[test]
    fn buffers_with_and_without_importers() {
        let one = stream(&[b"vgem\0", b"a \xff name\0", &[1], b"0000:00:02.0\0", &[2]]);
        let two = stream(&[b"system\0", b"\0", &[4]]);
        let all = buffers(&[one, two].concat()).unwrap();
        assert_eq!(all[0].exporter, "vgem");
        assert_eq!(all[0].name.as_deref(), Some("a \u{fffd} name"));
        let importers = all[0].importers.as_ref().unwrap();
        assert_eq!(importers.devices, ["0000:00:02.0"]);
        assert!(importers.complete);
        assert_eq!((all[1].inode, all[1].size), (77, 8192));
        assert_eq!((&all[1].name, &all[1].importers), (&None, &None));
    }

    proptest! {
        #[test]
        fn cut_or_damaged_buffers_never_panic(cut in 0usize..80, at in 0usize..80, to: u8) {
            let mut bytes = stream(&[b"vgem\0", b"n\0", &[1], b"dev\0", &[3]]);
            let len = bytes.len();
            bytes[at % len] = to;
            let _ = buffers(&bytes[..cut.min(len)]);
        }
    }
}
