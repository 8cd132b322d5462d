//! What this machine and process are, as far as it decides what can be known.

use std::fs;

use rustix::thread::{CapabilitySet, capabilities};

/// The inode of the initial process namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Used where the processor does not say; no x86-64 has more.
const MOST_PHYSICAL_BITS: u32 = 52;

/// The capabilities that BPF needs and this thread lacks, in words.
pub(crate) fn missing_capabilities() -> Option<&'static str> {
    lacking(capabilities(None).ok()?.effective)
}

fn lacking(has: CapabilitySet) -> Option<&'static str> {
    // CAP_SYS_ADMIN includes both.
    if has.contains(CapabilitySet::SYS_ADMIN) {
        return None;
    }
    match (
        has.contains(CapabilitySet::BPF),
        has.contains(CapabilitySet::PERFMON),
    ) {
        (true, true) => None,
        (true, false) => Some("CAP_PERFMON"),
        (false, true) => Some("CAP_BPF"),
        (false, false) => Some("CAP_BPF and CAP_PERFMON"),
    }
}

/// The value of a `key: value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// Whether the kernel is locked down to confidentiality.
pub(crate) fn locked_down() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown")
        .is_ok_and(|text| text.contains("[confidentiality]"))
}

/// Whether BPF programs are interpreted.
pub(crate) fn jit_is_off() -> bool {
    fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").is_ok_and(|text| text.trim() == "0")
}

/// Whether process ids here are those of the initial namespace.
pub(crate) fn in_initial_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// Bits of a physical address. Under memory encryption the kernel reports fewer,
/// so that the encryption bit of an entry is not among them.
pub(crate) fn physical_bits() -> u32 {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    parse_physical_bits(&text).unwrap_or(MOST_PHYSICAL_BITS)
}

fn parse_physical_bits(cpuinfo: &str) -> Option<u32> {
    let bits = field(cpuinfo, "address sizes")?.split_whitespace().next()?;
    let bits = bits.parse().ok()?;
    (32..=MOST_PHYSICAL_BITS).contains(&bits).then_some(bits)
}

/// Whether the kernel uses the page attribute table as it sets it up itself.
pub(crate) fn pat_is_off() -> bool {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_pat = field(&cpuinfo, "flags").is_none_or(|flags| has_word(flags, "pat"));
    has_word(&command_line, "nopat") || !has_pat
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|part| part == word)
}

/// The last page frame of memory plus one, over all zones.
pub(crate) fn end_of_memory() -> Option<u64> {
    parse_end_of_memory(&fs::read_to_string("/proc/zoneinfo").ok()?)
}

fn parse_end_of_memory(zoneinfo: &str) -> Option<u64> {
    let mut spanned = 0u64;
    let mut end = None;
    for line in zoneinfo.lines() {
        let mut words = line.split_whitespace();
        match (
            words.next(),
            words.next().and_then(|word| word.parse().ok()),
        ) {
            (Some("spanned"), Some(pages)) => spanned = pages,
            (Some("start_pfn:"), Some(start)) => {
                let zone_end: u64 = spanned.checked_add(start)?;
                end = end.max(Some(zone_end));
            }
            _ => {}
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_missing_capabilities() {
        let (bpf, perfmon) = (CapabilitySet::BPF, CapabilitySet::PERFMON);
        assert_eq!(lacking(CapabilitySet::SYS_ADMIN), None);
        assert_eq!(lacking(bpf | perfmon), None);
        assert_eq!(lacking(bpf), Some("CAP_PERFMON"));
        assert_eq!(lacking(perfmon), Some("CAP_BPF"));
        assert_eq!(
            lacking(CapabilitySet::empty()),
            Some("CAP_BPF and CAP_PERFMON")
        );
    }

    #[test]
    fn reads_the_processor() {
        let text = "flags\t\t: fpu pat\naddress sizes\t: 43 bits physical, 48 bits virtual\n";
        assert_eq!(parse_physical_bits(text), Some(43));
        assert_eq!(
            parse_physical_bits("address sizes\t: 99 bits physical"),
            None
        );
    }

    #[test]
    fn finds_the_end_of_memory() {
        let text = "Node 0, zone DMA\n  spanned 4095\n  start_pfn: 1\nNode 0, zone Normal\n  \
                    spanned 100\n  start_pfn: 1048576\nNode 0, zone Movable\n  spanned 0\n";
        assert_eq!(parse_end_of_memory(text), Some(1_048_676));
        assert_eq!(parse_end_of_memory(""), None);
    }
}
