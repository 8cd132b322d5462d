//! Argument layouts and numbers of the ioctls, as the kernel's headers
//! `linux/dma-buf.h`, `linux/dma-heap.h`, `linux/udmabuf.h` and
//! `linux/sync_file.h` define them.

use rustix::ioctl::{Opcode, opcode};

/// `struct dma_buf_sync`.
#[repr(C)]
pub(crate) struct DmaBufSync {
    pub(crate) flags: u64,
}

/// `struct dma_buf_export_sync_file` and `struct dma_buf_import_sync_file`.
#[repr(C)]
pub(crate) struct DmaBufSyncFile {
    pub(crate) flags: u32,
    pub(crate) fd: i32,
}

/// `struct dma_heap_allocation_data`.
#[repr(C)]
pub(crate) struct HeapAllocation {
    pub(crate) len: u64,
    pub(crate) fd: u32,
    pub(crate) fd_flags: u32,
    pub(crate) heap_flags: u64,
}

/// `struct udmabuf_create`.
#[repr(C)]
pub(crate) struct UdmabufCreate {
    pub(crate) memfd: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// `struct udmabuf_create_item`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct UdmabufItem {
    pub(crate) memfd: u32,
    pub(crate) pad: u32,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// `struct udmabuf_create_list`, whose items follow it.
#[repr(C)]
pub(crate) struct UdmabufListHead {
    pub(crate) flags: u32,
    pub(crate) count: u32,
}

/// `struct sync_merge_data`.
#[repr(C)]
pub(crate) struct SyncMerge {
    pub(crate) name: [u8; 32],
    pub(crate) fd2: i32,
    pub(crate) fence: i32,
    pub(crate) flags: u32,
    pub(crate) pad: u32,
}

/// `struct sync_fence_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct SyncFence {
    pub(crate) object: [u8; 32],
    pub(crate) driver: [u8; 32],
    pub(crate) status: i32,
    pub(crate) flags: u32,
    pub(crate) timestamp_ns: u64,
}

/// `struct sync_file_info`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct SyncFileInfo {
    pub(crate) name: [u8; 32],
    pub(crate) status: i32,
    pub(crate) flags: u32,
    pub(crate) num_fences: u32,
    pub(crate) pad: u32,
    pub(crate) fences: u64,
}

/// `struct sync_set_deadline`.
#[repr(C)]
pub(crate) struct SyncDeadline {
    pub(crate) deadline_ns: u64,
    pub(crate) pad: u64,
}

/// `DMA_BUF_SYNC_READ`.
pub(crate) const SYNC_READ: u64 = 1;
/// `DMA_BUF_SYNC_WRITE`.
pub(crate) const SYNC_WRITE: u64 = 2;
/// `DMA_BUF_SYNC_END`; its absence is a start.
pub(crate) const SYNC_END: u64 = 4;
/// `DMA_BUF_NAME_LEN`, terminator included.
pub(crate) const NAME_LEN: usize = 32;
/// `UDMABUF_FLAGS_CLOEXEC`.
pub(crate) const UDMABUF_CLOEXEC: u32 = 1;

pub(crate) const DMA_BUF_SYNC: Opcode = opcode::write::<DmaBufSync>(b'b', 0);
/// `DMA_BUF_SET_NAME_B`, whose size is 8 bytes on every architecture.
pub(crate) const DMA_BUF_SET_NAME: Opcode = opcode::write::<u64>(b'b', 1);
pub(crate) const DMA_BUF_EXPORT_SYNC_FILE: Opcode = opcode::read_write::<DmaBufSyncFile>(b'b', 2);
pub(crate) const DMA_BUF_IMPORT_SYNC_FILE: Opcode = opcode::write::<DmaBufSyncFile>(b'b', 3);
pub(crate) const DMA_HEAP_ALLOC: Opcode = opcode::read_write::<HeapAllocation>(b'H', 0);
pub(crate) const UDMABUF_CREATE: Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);
pub(crate) const UDMABUF_CREATE_LIST: Opcode = opcode::write::<UdmabufListHead>(b'u', 0x43);
pub(crate) const SYNC_MERGE: Opcode = opcode::read_write::<SyncMerge>(b'>', 3);
pub(crate) const SYNC_FILE_INFO: Opcode = opcode::read_write::<SyncFileInfo>(b'>', 4);
pub(crate) const SYNC_SET_DEADLINE: Opcode = opcode::write::<SyncDeadline>(b'>', 5);

#[cfg(test)]
mod tests {
    use super::*;
    use linux_raw_sys::general::DMA_BUF_MAGIC;
    use linux_raw_sys::ioctl as kernel;

    #[test]
    fn opcodes_are_the_kernels() {
        assert_eq!(DMA_BUF_SYNC, kernel::DMA_BUF_IOCTL_SYNC);
        assert_eq!(DMA_BUF_SET_NAME, kernel::DMA_BUF_SET_NAME_B);
        assert_eq!(DMA_HEAP_ALLOC, kernel::DMA_HEAP_IOCTL_ALLOC);
        assert_eq!(UDMABUF_CREATE, kernel::UDMABUF_CREATE);
        assert_eq!(UDMABUF_CREATE_LIST, kernel::UDMABUF_CREATE_LIST);
        assert_eq!(SYNC_MERGE, kernel::SYNC_IOC_MERGE);
        assert_eq!(SYNC_FILE_INFO, kernel::SYNC_IOC_FILE_INFO);
        assert_eq!(crate::sys::fd::DMA_BUF_MAGIC, u64::from(DMA_BUF_MAGIC));
    }

    /// linux-raw-sys 0.12 has no constant for these three: the numbers were
    /// read from the headers and observed on Linux 7.2.
    #[test]
    fn opcodes_without_an_oracle_are_what_was_observed() {
        assert_eq!(DMA_BUF_EXPORT_SYNC_FILE, 0xc008_6202);
        assert_eq!(DMA_BUF_IMPORT_SYNC_FILE, 0x4008_6203);
        assert_eq!(SYNC_SET_DEADLINE, 0x4010_3e05);
    }

    /// The opcodes carry the sizes of everything but these, which linux-raw-sys
    /// 0.12 has no types for.
    #[test]
    fn what_lists_hold_has_the_headers_size() {
        assert_eq!(size_of::<UdmabufItem>(), 24);
        assert_eq!(size_of::<SyncFence>(), 80);
        assert_eq!(std::mem::offset_of!(SyncFence, status), 64);
        assert_eq!(std::mem::offset_of!(SyncFence, timestamp_ns), 72);
        assert_eq!(std::mem::offset_of!(SyncFileInfo, fences), 48);
        assert_eq!(std::mem::offset_of!(UdmabufItem, offset), 8);
        assert_eq!(std::mem::offset_of!(SyncMerge, fence), 36);
    }
}
