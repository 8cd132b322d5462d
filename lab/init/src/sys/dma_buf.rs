//! The ioctls of dma-buf, udmabuf, dma-heap and sync_file, with every field
//! open to misuse (include/uapi/linux/{dma-buf,udmabuf,dma-heap,sync_file}.h).
#![expect(unsafe_code, reason = "declares which structures ioctls take")]

use std::os::fd::{AsFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::ioctl::{Argument, ioctl};

/// `DMA_BUF_SYNC_READ`.
pub const READ: u64 = 1;
/// `DMA_BUF_SYNC_WRITE`.
pub const WRITE: u64 = 2;
/// `DMA_BUF_SYNC_END`.
pub const END: u64 = 4;

/// `DMA_BUF_IOCTL_SYNC`.
pub const SYNC: u32 = 0x4008_6200;
/// `DMA_BUF_SET_NAME_A`; the number says four bytes, the argument is a string.
pub const SET_NAME_A: u32 = 0x4004_6201;
/// `DMA_BUF_SET_NAME_B`.
pub const SET_NAME_B: u32 = 0x4008_6201;
/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
pub const EXPORT_SYNC_FILE: u32 = 0xc008_6202;
/// `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`.
pub const IMPORT_SYNC_FILE: u32 = 0x4008_6203;
/// `DMA_BUF_IOCTL_INFO` as proposed in 2022.
pub const INFO_OF_2022: u32 = 0xc010_6202;
/// A number of the dma-buf family that nobody has.
pub const NOBODYS: u32 = 0xc008_627f;

/// `UDMABUF_CREATE`.
pub const UDMABUF_CREATE: u32 = 0x4018_7542;
/// `DMA_HEAP_IOCTL_ALLOC`.
pub const HEAP_ALLOC: u32 = 0xc018_4800;
/// `SYNC_IOC_MERGE`.
pub const SYNC_MERGE: u32 = 0xc030_3e03;
/// `SYNC_IOC_FILE_INFO`.
pub const SYNC_FILE_INFO: u32 = 0xc038_3e04;
/// `SYNC_IOC_SET_DEADLINE`.
pub const SYNC_SET_DEADLINE: u32 = 0x4010_3e05;

/// `struct dma_buf_sync`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Sync {
    /// READ, WRITE and END.
    pub flags: u64,
}

/// `struct dma_buf_export_sync_file` and `dma_buf_import_sync_file`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Fences {
    /// READ and WRITE.
    pub flags: u32,
    /// The sync_file.
    pub fd: i32,
}

/// What the number of 2022 takes.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Info {
    /// Never looked at.
    pub fields: [u64; 2],
}

/// A name of at most 63 bytes, ended by zeros.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Name {
    /// The bytes.
    pub bytes: [u8; 64],
}

impl Name {
    /// A name of `len` letters.
    #[must_use]
    pub fn of(len: usize) -> Self {
        let mut bytes = [0; 64];
        bytes[..len].fill(b'n');
        Self { bytes }
    }
}

/// `struct udmabuf_create`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct UdmabufCreate {
    /// The memfd.
    pub memfd: u32,
    /// CLOEXEC.
    pub flags: u32,
    /// Where in it, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub size: u64,
}

/// `struct dma_heap_allocation_data`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct HeapAlloc {
    /// How much, in bytes.
    pub len: u64,
    /// Must be 0; the dma-buf comes back in it.
    pub fd: u32,
    /// `O_CLOEXEC` and an access mode.
    pub fd_flags: u32,
    /// Must be 0.
    pub heap_flags: u64,
}

/// `struct sync_merge_data`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct SyncMerge {
    /// The new one's name.
    pub name: [u8; 32],
    /// The other sync_file.
    pub fd2: i32,
    /// The new one.
    pub fence: i32,
    /// Must be 0.
    pub flags: u32,
    /// Must be 0.
    pub pad: u32,
}

/// `struct sync_file_info`; with `num_fences` 0 the kernel leaves the address
/// of the list alone.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct SyncFileInfo {
    /// The name.
    pub name: [u8; 32],
    /// 1 when signalled.
    pub status: i32,
    /// Must be 0.
    pub flags: u32,
    /// How many fences there are.
    pub num_fences: u32,
    /// Must be 0.
    pub pad: u32,
    /// An address; 0 here.
    pub fences: u64,
}

/// `struct sync_set_deadline`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct SyncSetDeadline {
    /// In nanoseconds.
    pub deadline_ns: u64,
    /// Must be 0.
    pub pad: u64,
}

// SAFETY (all of these): integers only, repr(C), and the fields fill the
// structures without gaps (the sizes are in the ioctls' numbers, which are
// compared with them on every call). No field is an address that the kernel
// writes to: the one address, the list of a `SyncFileInfo`, is used for a
// `num_fences` above 0 only, and the one caller leaves it at 0.
macro_rules! arguments {
    ($($structure:ty),*) => {
        $(
            // SAFETY: see above the macro.
            unsafe impl Argument for $structure {}
        )*
    };
}
arguments!(
    Sync,
    Fences,
    Info,
    UdmabufCreate,
    HeapAlloc,
    SyncMerge,
    SyncFileInfo,
    SyncSetDeadline
);

/// Sets a dma-buf's name with either number.
///
/// # Errors
/// What the kernel says.
pub fn set_name(fd: impl AsFd, op: u32, name: &mut Name) -> Result<i32, Errno> {
    // SAFETY: both numbers take a string and read at most 32 bytes of it,
    // whatever size the number says; a `Name` has 64.
    unsafe { super::ioctl::ioctl_unsized(fd, op, name) }
}

// SAFETY: bytes only; no address.
unsafe impl Argument for Name {}

/// Asks udmabuf for a buffer, rightly or wrongly.
///
/// # Errors
/// What the kernel says.
pub fn udmabuf_create(device: impl AsFd, mut create: UdmabufCreate) -> Result<OwnedFd, Errno> {
    let fd = ioctl(device, UDMABUF_CREATE, &mut create)?;
    Ok(new_descriptor(fd))
}

/// Asks a heap for a buffer, rightly or wrongly.
///
/// # Errors
/// What the kernel says.
pub fn heap_alloc(device: impl AsFd, mut alloc: HeapAlloc) -> Result<OwnedFd, Errno> {
    ioctl(device, HEAP_ALLOC, &mut alloc)?;
    Ok(new_descriptor(alloc.fd.cast_signed()))
}

/// Takes the fences of a buffer as a sync_file, rightly or wrongly.
///
/// # Errors
/// What the kernel says.
pub fn export_sync_file(buffer: impl AsFd, flags: u32) -> Result<OwnedFd, Errno> {
    let mut fences = Fences { flags, fd: -1 };
    ioctl(buffer, EXPORT_SYNC_FILE, &mut fences)?;
    Ok(new_descriptor(fences.fd))
}

/// Merges two sync_files, rightly or wrongly.
///
/// # Errors
/// What the kernel says.
pub fn sync_merge(file: impl AsFd, mut merge: SyncMerge) -> Result<OwnedFd, Errno> {
    ioctl(file, SYNC_MERGE, &mut merge)?;
    Ok(new_descriptor(merge.fence))
}

/// Owns what a successful ioctl above has just made.
fn new_descriptor(fd: i32) -> OwnedFd {
    // SAFETY: every caller is in this file and passes the descriptor that an
    // ioctl has just returned as new, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
