//! What is written down about exporters: the answer without any privilege.
//!
//! An estimate, and marked as one ([`Source::Rule`](crate::Source::Rule)). A rule is
//! here only where the exporter's source leaves no choice; an exporter that decides
//! buffer by buffer has none, and stays unknown. Each rule gives its reason.
//!
//! The exporter's name is that of fdinfo and bufinfo: the module or heap. Most DRM
//! drivers export as `drm`, which says nothing; the driver's own name, where the caller
//! knows it, decides then.

use crate::decode::Caching;
use crate::environment;
use crate::records::Vma;

/// What one exporter always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The exporter's name in fdinfo.
    pub exporter: &'static str,
    /// The driver behind a name that many share.
    pub driver: Option<&'static str>,
    /// The caching of its mappings; `None`: it refuses mmap.
    pub caching: Option<Caching>,
    /// Whether get_user_pages works on its mappings.
    pub gup: bool,
    /// Why this can be relied on.
    pub reason: &'static str,
}

impl Rule {
    /// The caching that this machine makes of the rule's: without a page attribute
    /// table, Linux has uncached for write-combining.
    #[must_use]
    pub fn caching_here(&self) -> Option<Caching> {
        let without_pat = || cfg!(target_arch = "x86_64") && environment::pat_is_off();
        self.caching.map(|caching| match caching {
            Caching::WriteCombining if without_pat() => Caching::Uncached,
            caching => caching,
        })
    }
}

const fn mapped(
    exporter: &'static str,
    driver: Option<&'static str>,
    caching: Caching,
    gup: bool,
    reason: &'static str,
) -> Rule {
    Rule {
        exporter,
        driver,
        caching: Some(caching),
        gup,
        reason,
    }
}

const fn unmappable(exporter: &'static str, reason: &'static str) -> Rule {
    Rule {
        exporter,
        driver: None,
        caching: None,
        gup: false,
        reason,
    }
}

/// All rules.
pub const RULES: &[Rule] = &[
    mapped(
        "udmabuf",
        None,
        Caching::WriteBack,
        false,
        "pages of a memfd, inserted by frame with the mapping's default protection",
    ),
    mapped(
        "system",
        None,
        Caching::WriteBack,
        false,
        "the system heap remaps pages of ordinary memory with the default protection",
    ),
    mapped(
        "drm",
        Some("vgem"),
        Caching::WriteCombining,
        false,
        "vgem leaves the shmem helper's default, which is write-combining",
    ),
    mapped(
        "drm",
        Some("bochs-drm"),
        Caching::WriteBack,
        false,
        "bochs has shmem buffers that ask for cached mappings",
    ),
    mapped(
        "videobuf2_vmalloc",
        None,
        Caching::WriteBack,
        true,
        "vmalloc pages are inserted one by one with the default protection",
    ),
    unmappable("vfio_pci_core", "the exporter has no mmap operation (7.2)"),
    unmappable("ib_uverbs", "the exporter has no mmap operation (7.2)"),
    unmappable("xen_gntdev", "the exporter has no mmap operation (7.2)"),
    unmappable("vmwgfx", "the exporter has no mmap operation (7.2)"),
    unmappable("habanalabs", "the exporter has no mmap operation (7.2)"),
];

/// The rule for an exporter, if what is known decides.
#[must_use]
pub fn find(exporter: &str, driver: Option<&str>) -> Option<&'static Rule> {
    let of_exporter = || RULES.iter().filter(|rule| rule.exporter == exporter);
    of_exporter()
        .find(|rule| rule.driver.is_some() && rule.driver == driver)
        .or_else(|| of_exporter().find(|rule| rule.driver.is_none()))
}

/// Exporters that map by the mapping's protection alone.
const BY_PROTECTION: [&str; 6] = [
    "system",
    "udmabuf",
    "videobuf2_dma_contig",
    "videobuf2_dma_sg",
    "videobuf2_vmalloc",
    "virtio_gpu",
];

/// Whether the protection of a driver's mapping tells how its pages are cached.
///
/// TTM, which amdgpu, nouveau, qxl, radeon, xe and others use, leaves the protection
/// write-back and sets each page as the buffer is placed at the time; it marks its
/// mappings as I/O. The shmem helper of the other DRM drivers does not, and maps by the
/// protection.
#[must_use]
pub(crate) fn protection_decides(exporter: Option<&str>, vma: &Vma) -> bool {
    exporter.is_some_and(|exporter| {
        BY_PROTECTION.contains(&exporter) || exporter == "drm" && !vma.is_io()
    })
}

/// Whether one exporter takes memory away from importers that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The exporter's name in fdinfo.
    pub exporter: &'static str,
    /// The driver behind a name that many share.
    pub driver: Option<&'static str>,
    /// Whether it does.
    pub revocable: bool,
    /// Why this can be relied on.
    pub reason: &'static str,
}

const fn keeps(exporter: &'static str, driver: Option<&'static str>) -> Revocation {
    Revocation {
        exporter,
        driver,
        revocable: false,
        reason: "its pages are pinned as long as the buffer lives",
    }
}

/// What is written down about taking memory away.
pub const REVOCATIONS: &[Revocation] = &[
    keeps("udmabuf", None),
    keeps("system", None),
    keeps("drm", Some("vgem")),
    keeps("drm", Some("bochs-drm")),
    keeps("videobuf2_vmalloc", None),
    keeps("videobuf2_dma_contig", None),
    Revocation {
        exporter: "vfio_pci_core",
        driver: None,
        revocable: true,
        reason: "it invalidates its importers' mappings when the device is reset or switched off",
    },
];

/// Whether an exporter takes memory away, if that is written down.
#[must_use]
pub fn revocable(exporter: &str, driver: Option<&str>) -> Option<bool> {
    let mut rules = REVOCATIONS.iter().filter(|rule| rule.exporter == exporter);
    let rule = rules.find(|rule| rule.driver.is_none() || rule.driver == driver)?;
    Some(rule.revocable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_names_need_the_driver() {
        assert_eq!(find("drm", None), None);
        assert_eq!(find("drm", Some("amdgpu")), None);
        let vgem = find("drm", Some("vgem")).unwrap();
        assert_eq!(vgem.caching, Some(Caching::WriteCombining));
    }

    #[test]
    fn unknown_stays_unknown() {
        // These decide buffer by buffer.
        for exporter in ["i915", "virtio_gpu", "amdgpu", "xe", "", "udmabuf2"] {
            assert_eq!(find(exporter, None), None, "{exporter}");
        }
        assert!(find("udmabuf", Some("anything")).is_some());
    }

    fn mapping(flags: u64) -> Vma {
        Vma {
            tgid: 1,
            start: 0x1000,
            end: 0x2000,
            flags,
            page_prot: 0,
            page_offset: 0,
            inode: 5,
            is_dma_buf: true,
            samples: Vec::new(),
            pgd: 0,
        }
    }

    #[test]
    fn ttm_is_not_judged_by_its_protection() {
        // VM_PFNMAP and VM_IO, as smaps shows them: "pf" and "io".
        let (pf, io) = (1 << 10, 1 << 14);
        let decides = |exporter, flags| protection_decides(exporter, &mapping(flags));
        assert!(decides(Some("drm"), pf), "the shmem helper");
        assert!(!decides(Some("drm"), pf | io), "qxl");
        assert!(decides(Some("system"), pf | io));
        assert!(!decides(Some("i915"), pf | io));
        assert!(!decides(None, pf));
    }

    #[test]
    fn only_what_is_written_down_is_told_of_revocation() {
        assert_eq!(revocable("vfio_pci_core", None), Some(true));
        assert_eq!(revocable("udmabuf", None), Some(false));
        assert_eq!(revocable("drm", Some("vgem")), Some(false));
        assert_eq!(revocable("drm", None), None);
        assert_eq!(revocable("drm", Some("amdgpu")), None);
    }

    #[test]
    fn every_rule_has_a_reason_and_is_the_only_one() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(!rule.reason.is_empty());
            let key = (rule.exporter, rule.driver);
            let again = RULES[index + 1..]
                .iter()
                .any(|r| (r.exporter, r.driver) == key);
            assert!(!again, "{key:?}");
        }
    }
}
