//! Page arithmetic.

/// The size of a page, in bytes.
#[must_use]
pub fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// `bytes`, rounded up to whole pages; `None` if that overflows.
#[must_use]
pub fn round_up_to_page(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(page_size())
}
