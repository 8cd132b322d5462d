//! How memory is really cached: what the processor's own page table says of it,
//! read from outside the machine.
//!
//! Nothing of `landbridge-inspect` is used, and nothing of what it reads. The
//! machine's QEMU gives the entries (guest-physical memory, from CR3 on); what
//! an entry's cache bits mean is what the kernel logged at boot when it set up
//! the attribute table (Intel SDM volume 3, "Page Attribute Table").

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use landbridge_inspect::Caching;

use crate::desk::{Desk, Entry, Proof};
use crate::sys::memory::{Map, PAGE};

/// Pages that are looked at of a larger mapping, evenly spread.
const PAGES: usize = 16;

/// What the kernel logs before the eight memory types.
const LOGGED: &str = "x86/PAT: Configuration [0-7]:";

/// Reads page tables from outside.
#[derive(Debug)]
pub struct Truth {
    slots: Vec<Caching>,
    // In whole pages somewhere in it lies the proof of our address space.
    secret: Vec<u64>,
}

impl Truth {
    /// Reads the attribute table from the kernel's log.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open() -> Result<Self> {
        let log = kernel_log().context("the kernel's log")?;
        let types = log
            .lines()
            .find_map(|line| line.split_once(LOGGED))
            .with_context(|| format!("the kernel has not logged {LOGGED:?}"))?
            .1;
        let mut secret = vec![0; 8];
        let mut bytes = [0; 64];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        for (word, bytes) in secret.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        let slots = types
            .split_whitespace()
            .map(caching)
            .collect::<Result<_>>()?;
        Ok(Self { slots, secret })
    }

    /// How a mapping is cached whose pages have been touched; nothing where none
    /// of them is present.
    ///
    /// # Errors
    /// When the desk can't see our address space.
    pub fn of(&self, desk: &mut Desk, map: &Map) -> Result<Option<Caching>> {
        let entries = self.entries(desk, map.address() as u64, map.len())?;
        let mut together: Option<Caching> = None;
        for entry in entries.iter().filter(|entry| entry.entry & 1 != 0) {
            let one = self.slots[slot(*entry)];
            together = Some(match together {
                Some(other) if other != one => Caching::Mixed,
                _ => one,
            });
        }
        Ok(together)
    }

    /// The page frames of some pages that have been touched, of `len` bytes from
    /// `start`; those of large pages are the first of each.
    ///
    /// # Errors
    /// When the desk can't see our address space.
    pub fn frames(&self, desk: &mut Desk, start: u64, len: usize) -> Result<Vec<u64>> {
        // Bits 12 to 51; bit 12 of a large page is of its caching.
        const FRAME: u64 = ((1 << 52) - 1) & !0xfff;
        let entries = self.entries(desk, start, len)?;
        let present = entries.iter().filter(|entry| entry.entry & 1 != 0);
        let frames = present.map(|entry| {
            let large = if entry.level == 1 { 0 } else { 1 << 12 };
            (entry.entry & FRAME & !large) >> 12
        });
        Ok(frames.collect())
    }

    fn entries(&self, desk: &mut Desk, start: u64, len: usize) -> Result<Vec<Entry>> {
        let pages = len / PAGE;
        let step = pages.div_ceil(PAGES).max(1);
        let addresses = (0..pages).step_by(step);
        let addresses = addresses.map(|page| start + (page * PAGE) as u64);
        while_busy(|| desk.entries(self.proof(), addresses.collect()))
    }

    /// Words that only we have, in one page.
    fn proof(&self) -> Proof {
        let words = std::hint::black_box(&self.secret);
        let start = words.as_ptr().addr();
        // Eight words, of which at least four are on the page of the first or
        // of the last.
        let first = if start / PAGE == (start + 31) / PAGE {
            0
        } else {
            4
        };
        Proof {
            address: (start + 8 * first) as u64,
            words: words[first..first + 4].to_vec(),
        }
    }
}

/// Which of the eight types an entry chooses.
fn slot(entry: Entry) -> usize {
    let pat = if entry.level == 1 { 7 } else { 12 };
    let bit = |at: u32| (entry.entry >> at & 1) as usize;
    bit(3) | bit(4) << 1 | bit(pat) << 2
}

fn caching(word: &str) -> Result<Caching> {
    Ok(match word {
        "WB" => Caching::WriteBack,
        "WC" => Caching::WriteCombining,
        "UC" | "UC-" => Caching::Uncached,
        "WT" => Caching::WriteThrough,
        // No user mapping has it; if one had, nothing would equal this.
        "WP" => Caching::Mixed,
        other => bail!("a memory type called {other:?}"),
    })
}

/// Keeps every processor in our address space meanwhile.
fn while_busy<T>(what: impl FnOnce() -> T) -> T {
    let busy = AtomicBool::new(true);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = what();
        busy.store(false, Ordering::Relaxed);
        result
    })
}

/// Everything that the kernel has logged since boot (Documentation/ABI/testing/dev-kmsg).
fn kernel_log() -> std::io::Result<String> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let mut log = String::new();
    let mut record = vec![0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(count) => {
                log.push_str(&String::from_utf8_lossy(&record[..count]));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(log),
            // Overwritten meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, slot};

    #[test]
    fn large_pages_keep_a_bit_elsewhere() {
        let entry = |level, entry| slot(Entry { level, entry });
        assert_eq!(entry(1, 0x8000_0001_2345_686f), 1);
        assert_eq!(entry(1, 0xff), 7);
        assert_eq!(entry(2, 0xe7), 0);
        assert_eq!(entry(2, 0x10ff), 7);
    }
}
