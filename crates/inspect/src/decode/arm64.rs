//! arm64: bits 4 to 2 of an entry index the memory attributes.
//!
//! Arm ARM, "VMSAv8-64 translation table format descriptors"; Linux's indices are
//! in `arch/arm64/include/asm/memory.h` (MT_NORMAL and following).

use super::Caching;

/// The caching of an entry or protection; `None` for indices that Linux does not use.
#[must_use]
pub fn caching(entry: u64) -> Option<Caching> {
    match (entry >> 2) & 7 {
        // MT_NORMAL and MT_NORMAL_TAGGED.
        0 | 1 => Some(Caching::WriteBack),
        // MT_NORMAL_NC: writes may gather, as write-combining does on x86.
        2 => Some(Caching::WriteCombining),
        // MT_DEVICE_nGnRnE and MT_DEVICE_nGnRE.
        3 | 4 => Some(Caching::Uncached),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_as_linux_composes_them() {
        let cases = [
            // User page, read and write, normal memory (PXN, UXN, AF, SH inner, user).
            (0x00e8_0000_8123_4f43, Some(Caching::WriteBack)),
            // The same, tagged.
            (0x00e8_0000_8123_4f47, Some(Caching::WriteBack)),
            // pgprot_writecombine: normal, not cacheable.
            (0x00e8_0000_8123_4f4b, Some(Caching::WriteCombining)),
            // pgprot_noncached: nGnRnE.
            (0x00e8_0000_0900_0f4f, Some(Caching::Uncached)),
            // pgprot_device: nGnRE.
            (0x00e8_0000_0900_0f53, Some(Caching::Uncached)),
            (0x00e8_0000_0900_0f57, None),
        ];
        for (entry, expected) in cases {
            assert_eq!(caching(entry), expected, "{entry:#x}");
        }
    }
}
