//! The walk in Rust, and the search for the kernel's direct map.
//!
//! Tables name each other by physical address; the kernel reaches them through its
//! direct map, whose place is random. Rather than trust a symbol (which needs another
//! capability and may be hidden), the place is searched and *confirmed*: with the right
//! one, the walk for a page of ours ends at bytes that only we know. Unconfirmed means
//! unavailable, never a guess.

use std::fs::File;
use std::io::Read;

use crate::decode::x86;
use crate::environment;
use crate::error::{Error, Reason, Result, Strength};
use crate::programs::mappings::WalkParameters;

/// The direct map starts at a multiple of this (`PUD_SIZE`, `arch/x86/mm/kaslr.c`).
const GIGABYTE: u64 = 1 << 30;
/// Memory assumed where the kernel does not tell where it ends.
const MOST_MEMORY: u64 = 64 << 40;
/// Kernel addresses start here with four levels; with five the direct map lies below.
const FOUR_LEVEL_KERNEL: u64 = 0xffff_8000_0000_0000;
const FIVE_LEVEL_KERNEL: u64 = 0xff00_0000_0000_0000;
/// Pages may migrate between the walk and the comparison: once more then.
const TRIES: usize = 3;
const SECRET_BYTES: usize = 32;

/// The end of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The last entry read.
    pub entry: u64,
    /// Its level: 1 for small pages; 0 if nothing could be read.
    pub level: u8,
}

impl Entry {
    /// Whether a page is mapped there.
    #[must_use]
    pub fn is_leaf(self) -> bool {
        x86::is_leaf(self.entry, self.level)
    }

    /// The physical address that `address` has through this leaf.
    pub(crate) fn physical(self, address: u64, mask: u64) -> u64 {
        let inside = x86::leaf_bytes(self.level) - 1;
        (self.entry & mask & !inside) | (address & inside)
    }
}

/// Reads kernel memory; `None` where nothing can be read.
pub(crate) trait KernelMemory {
    /// The bytes at `address`, which share a page.
    fn read(&self, address: u64) -> Option<[u8; SECRET_BYTES]>;

    /// The aligned word at `address`; its block never crosses into another page.
    fn word(&self, address: u64) -> Option<u64> {
        let inside = (address % SECRET_BYTES as u64) as usize;
        let block = self.read(address - inside as u64)?;
        Some(u64::from_le_bytes(*block.get(inside..)?.first_chunk()?))
    }
}

/// Walks from the top table at `pgd`.
pub(crate) fn walk(
    memory: &impl KernelMemory,
    pgd: u64,
    address: u64,
    parameters: WalkParameters,
) -> Entry {
    let mut table = pgd;
    let mut last = Entry::default();
    let top: u8 = if parameters.five_levels { 5 } else { 4 };
    for level in (1..=top).rev() {
        let shift = 12 + 9 * (u32::from(level) - 1);
        let slot = table.wrapping_add(((address >> shift) & 511) * 8);
        let Some(entry) = memory.word(slot) else {
            return last;
        };
        last = Entry { entry, level };
        if level == 1 || entry & 1 == 0 || last.is_leaf() {
            break;
        }
        table = (entry & parameters.mask).wrapping_add(parameters.direct_map);
    }
    last
}

/// Finds and confirms the direct map; `pgd` is the caller's own top table.
pub(crate) fn confirm(memory: &impl KernelMemory, pgd: u64) -> Result<WalkParameters> {
    let bits = environment::physical_bits();
    let end = environment::end_of_memory().map_or(MOST_MEMORY, |frames| frames << 12);
    for _ in 0..TRIES {
        let secret = Secret::new()?;
        if let Some(found) = search(memory, pgd, x86::address_mask(bits), end, &secret) {
            return Ok(found);
        }
    }
    Err(Error::Unavailable {
        strength: Strength::Pte,
        reason: Reason::Unconfirmed,
    })
}

fn search(
    memory: &impl KernelMemory,
    pgd: u64,
    mask: u64,
    end_of_memory: u64,
    secret: &Secret,
) -> Option<WalkParameters> {
    if pgd < FIVE_LEVEL_KERNEL {
        return None;
    }
    let highest = pgd & !(GIGABYTE - 1);
    let candidates = end_of_memory.div_ceil(GIGABYTE) + 1;
    (0..candidates)
        .map_while(|gigabytes| highest.checked_sub(gigabytes * GIGABYTE))
        .map(|direct_map| WalkParameters {
            direct_map,
            mask,
            five_levels: pgd < FOUR_LEVEL_KERNEL,
        })
        .find(|&parameters| {
            secret.places().all(|(address, bytes)| {
                let leaf = walk(memory, pgd, address, parameters);
                let physical = leaf.physical(address, mask);
                leaf.is_leaf()
                    && memory.read(parameters.direct_map.wrapping_add(physical)) == Some(bytes)
            })
        })
}

/// Bytes that nobody else has, on two pages.
struct Secret {
    memory: Vec<u8>,
}

impl Secret {
    fn new() -> Result<Self> {
        let mut memory = vec![0; 3 * 4096];
        let mut random = File::open("/dev/urandom").map_err(Error::io("/dev/urandom"))?;
        random
            .read_exact(&mut memory)
            .map_err(Error::io("/dev/urandom"))?;
        Ok(Self { memory })
    }

    /// Address and content of one place on each of two whole pages.
    fn places(&self) -> impl Iterator<Item = (u64, [u8; SECRET_BYTES])> {
        let memory = std::hint::black_box(self.memory.as_slice());
        let start = memory.as_ptr() as usize;
        let first = start.next_multiple_of(4096) - start;
        [first, first + 4096 + 1024]
            .into_iter()
            .filter_map(move |at| {
                let bytes = memory.get(at..)?.first_chunk()?;
                Some(((start + at) as u64, *bytes))
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Physical memory of a machine that maps it at `direct_map`.
    struct Machine {
        direct_map: u64,
        words: HashMap<u64, u64>,
    }

    impl Machine {
        fn new(direct_map: u64) -> Self {
            let words = HashMap::new();
            Self { direct_map, words }
        }

        fn set(&mut self, physical: u64, entry: u64) {
            self.words.insert(physical, entry);
        }

        /// Maps `address` to `leaf` through tables at 0x1000 times the level.
        fn map(&mut self, address: u64, top: u8, last: u8, leaf: u64) {
            for level in (last..=top).rev() {
                let shift = 12 + 9 * (u32::from(level) - 1);
                let slot = 0x1000 * u64::from(level) + ((address >> shift) & 511) * 8;
                let next = (0x1000 * (u64::from(level) - 1)) | 0x67;
                self.set(slot, if level == last { leaf } else { next });
            }
        }

        fn parameters(&self) -> WalkParameters {
            WalkParameters {
                direct_map: self.direct_map,
                mask: x86::address_mask(46),
                five_levels: self.direct_map < FOUR_LEVEL_KERNEL,
            }
        }

        fn pgd(&self) -> u64 {
            self.direct_map
                + if self.parameters().five_levels {
                    0x5000
                } else {
                    0x4000
                }
        }
    }

    impl KernelMemory for Machine {
        fn read(&self, address: u64) -> Option<[u8; SECRET_BYTES]> {
            let physical = address.checked_sub(self.direct_map)?;
            if physical >= 4 * GIGABYTE {
                return None;
            }
            let mut bytes = [0; SECRET_BYTES];
            for (word, at) in bytes
                .as_chunks_mut::<8>()
                .0
                .iter_mut()
                .zip((physical..).step_by(8))
            {
                *word = self.words.get(&at).copied().unwrap_or(0).to_le_bytes();
            }
            Some(bytes)
        }
    }

    const FOUR: u64 = 0xffff_9a80_4000_0000;
    const FIVE: u64 = 0xff2a_0000_c000_0000;

    #[test]
    fn walks_four_and_five_levels() {
        for (direct_map, top) in [(FOUR, 4), (FIVE, 5)] {
            let mut machine = Machine::new(direct_map);
            machine.map(0x7f12_3456_7000, top, 1, 0x8000_0000_0abc_d86f);
            let found = walk(
                &machine,
                machine.pgd(),
                0x7f12_3456_7000,
                machine.parameters(),
            );
            assert_eq!((found.level, found.entry), (1, 0x8000_0000_0abc_d86f));
            let absent = walk(&machine, machine.pgd(), 0x1000, machine.parameters());
            assert!(!absent.is_leaf());
        }
    }

    #[test]
    fn stops_at_large_pages() {
        let mut machine = Machine::new(FOUR);
        machine.map(0x7f12_3440_0000, 4, 2, 0xc000_00e7);
        let found = walk(
            &machine,
            machine.pgd(),
            0x7f12_3441_2345,
            machine.parameters(),
        );
        assert_eq!(found.level, 2);
        assert_eq!(found.physical(0x7f12_3441_2345, u64::MAX), 0xc001_2345);
    }

    fn with_secret(direct_map: u64, secret: &Secret) -> Machine {
        let mut machine = Machine::new(direct_map);
        for (index, (address, bytes)) in secret.places().enumerate() {
            let page = 0x10_0000 + 0x1000 * index as u64;
            let top = if machine.parameters().five_levels {
                5
            } else {
                4
            };
            machine.map(address, top, 1, page | 0x67);
            for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let at = page + (address & 0xfff) + 8 * index as u64;
                machine.set(at, u64::from_le_bytes(*word));
            }
        }
        machine
    }

    #[test]
    fn finds_the_direct_map_by_our_own_bytes() {
        let secret = Secret::new().unwrap();
        for direct_map in [FOUR, FIVE] {
            let machine = with_secret(direct_map, &secret);
            let mask = x86::address_mask(46);
            let found = search(&machine, machine.pgd(), mask, 4 * GIGABYTE, &secret);
            assert_eq!(found, Some(machine.parameters()));
        }
    }

    #[test]
    fn without_our_bytes_nothing_is_confirmed() {
        let secret = Secret::new().unwrap();
        let machine = with_secret(FOUR, &secret);
        let other = Secret::new().unwrap();
        let mask = x86::address_mask(46);
        let search = |secret| search(&machine, machine.pgd(), mask, 4 * GIGABYTE, secret);
        assert_eq!(search(&other), None);
    }
}
