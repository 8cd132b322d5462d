//! The answer for people.

use landbridge_inspect::{Caching, MapInfo, Source};

use crate::descriptor::Descriptor;
use crate::terminal::plain;

/// Four lines.
pub(super) fn of(info: &MapInfo, descriptor: &Descriptor) -> String {
    let caching = match info.caching {
        None => "none: the exporter does not map it",
        Some(Caching::WriteBack) => "write-back",
        Some(Caching::WriteCombining) => "write-combining",
        Some(Caching::Uncached) => "uncached",
        Some(Caching::WriteThrough) => "write-through",
        Some(Caching::Mixed) => "mixed: pages differ",
    };
    let source = match info.source {
        Source::KernelIoctl => "the kernel says so",
        Source::Pte => "read from the page table: exact at this time",
        Source::Vma => "read from the mapping's protection",
        Source::Rule => {
            "an estimate, by what is known of the exporter; \
             CAP_BPF and CAP_PERFMON, or a broker, would read it"
        }
    };
    let gup = match info.gup {
        true => "get_user_pages works",
        false => "get_user_pages does not work, or that is not known",
    };
    format!(
        "{}\n  caching  {caching}\n  known    {source}\n  GUP      {gup}\n",
        plain(descriptor.target())
    )
}
