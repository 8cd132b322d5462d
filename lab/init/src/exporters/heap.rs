//! The system heap (include/uapi/linux/dma-heap.h).

use std::fs::File;

use super::{Access, Exported, Exporter, Refused};
use crate::sys::dma_buf::{HeapAlloc, heap_alloc};

/// The heap that every kernel with heaps has.
#[derive(Debug)]
pub struct SystemHeap {
    device: File,
}

impl SystemHeap {
    /// Opens it, for reading: enough to allocate.
    ///
    /// # Errors
    /// When there is none.
    pub fn open() -> std::io::Result<Self> {
        let device = File::open("/dev/dma_heap/system")?;
        Ok(Self { device })
    }
}

impl Exporter for SystemHeap {
    fn name(&self) -> &'static str {
        "heap"
    }

    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        let alloc = HeapAlloc {
            len: size,
            fd_flags: access.open_flags(),
            ..HeapAlloc::default()
        };
        Ok(Exported::new(heap_alloc(&self.device, alloc)?, size))
    }
}
