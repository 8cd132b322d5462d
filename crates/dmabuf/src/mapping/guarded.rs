//! A mapping whose memory may go away without a crash, and whose access can be
//! taken away for a while.
#![expect(unsafe_code, reason = "changes what a mapping is under its views")]

use crate::error::Result;
use crate::mapping::{Access, Mapping, View};
use crate::sys::fault::Watch;

/// A mapping that is watched for SIGBUS.
///
/// # Invariants
/// `watch` is over the region of `mapping`, and comes first, so that it is
/// dropped first.
#[derive(Debug)]
pub(crate) struct Guarded {
    watch: Watch,
    mapping: Mapping,
}

impl Guarded {
    pub(crate) fn new(mapping: Mapping) -> Result<Self> {
        let region = &mapping.region;
        // SAFETY: the region is whole pages and ours; it stays mapped until
        // `mapping` is dropped, which by the invariants is after the watch; it
        // is only reached through `View`, which makes no references.
        let watch = unsafe { Watch::over(region.as_ptr(), region.len()) }?;
        Ok(Self { watch, mapping })
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(crate) fn view(&self) -> View<'_> {
        self.mapping.view()
    }

    /// Whether an access met memory that was gone. It is zeros since.
    pub(crate) fn lost(&self) -> bool {
        self.watch.lost()
    }

    /// Lets the memory be accessed as said, or not at all. An access that this
    /// forbids is a SIGSEGV: a crash, which is what it is for.
    pub(crate) fn protect(&self, access: Option<Access>) -> Result<()> {
        let access = match (access, self.mapping.access) {
            (Some(_), Access::ReadOnly) => Some(Access::ReadOnly),
            (access, _) => access,
        };
        // SAFETY: the region is only reached through `View`, which makes no
        // references, and whose accesses fault where they aren't allowed.
        unsafe { self.mapping.region.protect(access) }
    }
}
