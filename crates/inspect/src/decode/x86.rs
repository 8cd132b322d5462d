//! x86-64: PWT, PCD and PAT choose one of eight slots of the page attribute table.
//!
//! Intel SDM volume 3, "Page Attribute Table"; Linux's choice of slots is in
//! `arch/x86/mm/pat/memtype.c`.

use super::Caching;
use crate::environment;

const PRESENT: u64 = 1;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
/// PAT in small pages, "large page" above them.
const BIT_7: u64 = 1 << 7;
/// Linux's PROT_NONE: the processor sees nothing, the other bits stay valid.
const PROT_NONE: u64 = 1 << 8;
const LARGE_PAT: u64 = 1 << 12;
/// Bits that hold an address, before the machine's own limit.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A memory type as the attribute table encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemoryType {
    /// UC: strong, not overridden by MTRRs.
    Uncached = 0,
    /// WC.
    WriteCombining = 1,
    /// WT.
    WriteThrough = 4,
    /// WP: Linux gives it to no user mapping.
    WriteProtected = 5,
    /// WB.
    WriteBack = 6,
    /// UC-: uncached unless an MTRR says WC.
    UncachedMinus = 7,
}

impl MemoryType {
    fn of(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Uncached,
            1 => Self::WriteCombining,
            4 => Self::WriteThrough,
            5 => Self::WriteProtected,
            6 => Self::WriteBack,
            7 => Self::UncachedMinus,
            _ => return None,
        })
    }
}

/// The eight slots of the page attribute table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatLayout([MemoryType; 8]);

impl PatLayout {
    /// What Linux sets up.
    pub const LINUX: Self = {
        use MemoryType::{
            Uncached, UncachedMinus, WriteBack, WriteCombining, WriteProtected, WriteThrough,
        };
        Self([
            WriteBack,
            WriteCombining,
            UncachedMinus,
            Uncached,
            WriteBack,
            WriteProtected,
            UncachedMinus,
            WriteThrough,
        ])
    };

    /// The reset value, which `nopat` leaves in force.
    pub const RESET: Self = {
        use MemoryType::{Uncached, UncachedMinus, WriteBack, WriteThrough};
        Self([
            WriteBack,
            WriteThrough,
            UncachedMinus,
            Uncached,
            WriteBack,
            WriteThrough,
            UncachedMinus,
            Uncached,
        ])
    };

    /// From the value of the register (`MSR_IA32_CR_PAT`, 0x277); `None` if a slot is
    /// of a reserved type.
    #[must_use]
    pub fn from_register(value: u64) -> Option<Self> {
        let mut slots = [MemoryType::Uncached; 8];
        for (slot, code) in slots.iter_mut().zip(value.to_le_bytes()) {
            *slot = MemoryType::of(code)?;
        }
        Some(Self(slots))
    }

    /// The layout in force: the register where it can be read, else what the
    /// kernel's command line and the processor's features imply.
    #[must_use]
    pub fn of_this_machine() -> Self {
        if let Some(layout) = read_register().and_then(Self::from_register) {
            return layout;
        }
        if environment::pat_is_off() {
            Self::RESET
        } else {
            Self::LINUX
        }
    }

    /// The caching of a slot; `None` for write-protected, which no user mapping has.
    #[must_use]
    pub fn caching(self, index: u8) -> Option<Caching> {
        match self.0[usize::from(index & 7)] {
            MemoryType::WriteBack => Some(Caching::WriteBack),
            MemoryType::WriteCombining => Some(Caching::WriteCombining),
            MemoryType::WriteThrough => Some(Caching::WriteThrough),
            MemoryType::Uncached | MemoryType::UncachedMinus => Some(Caching::Uncached),
            MemoryType::WriteProtected => None,
        }
    }
}

fn read_register() -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open("/dev/cpu/0/msr").ok()?;
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0x277).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The slot that an entry chooses; large pages keep the PAT bit elsewhere.
#[must_use]
pub fn cache_index(entry: u64, level: u8) -> u8 {
    let pat = if level == 1 { BIT_7 } else { LARGE_PAT };
    u8::from(entry & WRITE_THROUGH != 0)
        | u8::from(entry & CACHE_DISABLE != 0) << 1
        | u8::from(entry & pat != 0) << 2
}

/// Whether an entry that ended a walk at `level` maps a page. A page that Linux
/// has made PROT_NONE counts; one that is swapped out or in migration does not, since
/// its bits mean something else.
#[must_use]
pub fn is_leaf(entry: u64, level: u8) -> bool {
    let present = entry & (PRESENT | PROT_NONE) != 0;
    present && (level == 1 || matches!(level, 2 | 3) && entry & BIT_7 != 0)
}

/// Bytes that a leaf at `level` maps.
#[must_use]
pub fn leaf_bytes(level: u8) -> u64 {
    4096 << (9 * (u32::from(level.clamp(1, 3)) - 1))
}

/// The address bits of an entry on a machine with `physical_bits`.
#[must_use]
pub fn address_mask(physical_bits: u32) -> u64 {
    let limit = 1u64
        .checked_shl(physical_bits)
        .map_or(u64::MAX, |top| top - 1);
    ADDRESS & limit
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX_REGISTER: u64 = 0x0407_0506_0007_0106;

    #[test]
    fn linux_layout_is_what_its_register_says() {
        // "WB WC UC- UC WB WP UC- WT", as the kernel prints it at boot.
        assert_eq!(
            PatLayout::from_register(LINUX_REGISTER),
            Some(PatLayout::LINUX)
        );
        assert_eq!(
            PatLayout::from_register(0x0007_0406_0007_0406),
            Some(PatLayout::RESET)
        );
        assert_eq!(PatLayout::from_register(0x0202_0202_0202_0202), None);
    }

    #[test]
    fn small_pages() {
        let cases = [
            // Shared anonymous memory, read and write, dirty.
            (0x8000_0001_2345_6867, Caching::WriteBack),
            // A write-combined page of vgem: PWT.
            (0x8000_0001_2345_686f, Caching::WriteCombining),
            // A device register: PCD and PWT.
            (0x8000_0000_fee0_007f, Caching::Uncached),
            // UC-: PCD alone.
            (0x8000_0000_fec0_0077, Caching::Uncached),
            // PAT, PCD and PWT: write-through.
            (0x8000_0000_fec0_00ff, Caching::WriteThrough),
        ];
        for (entry, caching) in cases {
            let index = cache_index(entry, 1);
            assert_eq!(PatLayout::LINUX.caching(index), Some(caching), "{entry:#x}");
        }
    }

    #[test]
    fn large_pages_keep_pat_at_bit_12() {
        // Bit 7 of a large page means "large", not PAT.
        assert_eq!(cache_index(0x8000_0000_0020_00e7, 2), 0);
        assert_eq!(cache_index(0x8000_0000_0020_10ff, 2), 7);
        assert_eq!(cache_index(0x8000_0000_4000_008f, 3), 1);
    }

    #[test]
    fn without_pat_slot_one_writes_through() {
        assert_eq!(PatLayout::RESET.caching(1), Some(Caching::WriteThrough));
        assert_eq!(PatLayout::RESET.caching(2), Some(Caching::Uncached));
        assert_eq!(PatLayout::LINUX.caching(5), None);
    }

    #[test]
    fn leaves_and_what_is_none() {
        assert!(is_leaf(0x67, 1));
        assert!(is_leaf(0x120, 1), "PROT_NONE");
        assert!(!is_leaf(0x0, 1));
        assert!(!is_leaf(0x7fff_0000_0000_0602, 1), "swapped out");
        assert!(is_leaf(0xe7, 2));
        assert!(!is_leaf(0x67, 2), "a table");
        assert!(!is_leaf(0xe7, 4));
    }

    #[test]
    fn masks_and_sizes() {
        assert_eq!(address_mask(52), 0x000f_ffff_ffff_f000);
        assert_eq!(address_mask(43), 0x0000_07ff_ffff_f000);
        assert_eq!(leaf_bytes(1), 4096);
        assert_eq!(leaf_bytes(2), 2 << 20);
        assert_eq!(leaf_bytes(3), 1 << 30);
    }
}
