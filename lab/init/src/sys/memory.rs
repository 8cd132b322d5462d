//! Mappings made with any protection, flags and offset, and what the kernel's
//! own ways into memory make of them.
#![expect(unsafe_code, reason = "maps memory and touches it")]

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The size of a page on every machine of the lab.
pub const PAGE: usize = 4096;

/// A mapping that may be of anything, whole or not.
#[derive(Debug)]
pub struct Map {
    pub(super) start: *mut u8,
    len: usize,
}

/// How a [`Map`] is made.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Readable, writable, executable.
    pub protection: ProtFlags,
    /// Shared or private.
    pub flags: MapFlags,
}

impl How {
    /// Shared, readable and writable.
    pub const SHARED: Self = Self {
        protection: ProtFlags::READ.union(ProtFlags::WRITE),
        flags: MapFlags::SHARED,
    };
    /// Shared and readable.
    pub const READ_ONLY: Self = Self {
        protection: ProtFlags::READ,
        flags: MapFlags::SHARED,
    };
    /// Shared, readable and executable.
    pub const EXECUTABLE: Self = Self {
        protection: ProtFlags::READ.union(ProtFlags::EXEC),
        flags: MapFlags::SHARED,
    };
    /// Private, readable and writable.
    pub const PRIVATE: Self = Self {
        protection: ProtFlags::READ.union(ProtFlags::WRITE),
        flags: MapFlags::PRIVATE,
    };
}

impl Map {
    /// Maps `len` bytes of `fd` from `offset`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(fd: impl AsFd, offset: usize, len: usize, how: How) -> Result<Self, Errno> {
        // SAFETY: a new mapping at an address of the kernel's choice; it
        // overlaps nothing of ours.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                how.protection,
                how.flags,
                fd,
                offset as u64,
            )?
        };
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    /// The byte at `at`.
    pub fn get(&self, at: usize) -> u8 {
        assert!(at < self.len);
        // SAFETY: `at` is inside the mapping, which lives as long as `self`;
        // volatile, because another mapping may write the same memory. Memory
        // that is not there ends the body's process with a signal, which the
        // host reports.
        unsafe { self.start.wrapping_add(at).read_volatile() }
    }

    /// Sets the byte at `at`.
    pub fn set(&self, at: usize, byte: u8) {
        assert!(at < self.len);
        // SAFETY: as for `get`.
        unsafe { self.start.wrapping_add(at).write_volatile(byte) }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> usize {
        self.start.addr()
    }

    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no mapping is empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Reads a byte of every page, which has its exporter map it.
    pub fn touch(&self) {
        for at in (0..self.len).step_by(PAGE) {
            self.get(at);
        }
    }

    /// Unmaps the first `len` bytes and keeps the rest.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn drop_front(mut self, len: usize) -> Result<Self, Errno> {
        assert!(len < self.len && len.is_multiple_of(PAGE));
        // SAFETY: the bytes are ours, and from here on `self` no longer covers
        // them.
        unsafe { rustix::mm::munmap(self.start.cast(), len)? };
        self.start = self.start.wrapping_add(len);
        self.len -= len;
        Ok(self)
    }

    /// `madvise(MADV_POPULATE_READ)`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn populate(&self) -> Result<(), Errno> {
        // SAFETY: populating changes no contents and no protection.
        unsafe { rustix::mm::madvise(self.start.cast(), self.len, Advice::LinuxPopulateRead) }
    }

    /// `process_vm_readv` of the first byte, from ourselves: takes the page's
    /// reference as every other user of get_user_pages would.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_through_pages(&self) -> Result<(), Errno> {
        let mut byte = 0_u8;
        let near = libc::iovec {
            iov_base: std::ptr::from_mut(&mut byte).cast(),
            iov_len: 1,
        };
        let far = libc::iovec {
            iov_base: self.start.cast(),
            iov_len: 1,
        };
        let ourselves = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: both vectors describe one byte that is ours, and live until
        // the call returns.
        let read = unsafe { libc::process_vm_readv(ourselves, &near, 1, &far, 1, 0) };
        done(read)
    }

    /// `write` of the first byte into a pipe: an ordinary copy.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write_to_pipe(&self) -> Result<(), Errno> {
        let (_far, near) = rustix::pipe::pipe()?;
        // SAFETY: one byte that is ours; the kernel only reads it.
        let written = unsafe { libc::write(near.as_raw_fd(), self.start.cast(), 1) };
        done(written)
    }

    /// `vmsplice` of the first page into a pipe: takes a page reference.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn splice_to_pipe(&self) -> Result<(), Errno> {
        let (_far, near) = rustix::pipe::pipe()?;
        let page = libc::iovec {
            iov_base: self.start.cast(),
            iov_len: PAGE,
        };
        // SAFETY: one page of ours that stays mapped until the pipe is closed,
        // a few lines below; the kernel only reads it.
        let spliced = unsafe { libc::vmsplice(near.as_raw_fd(), &page, 1, 0) };
        done(spliced)
    }

    /// Reads the first byte through /proc/self/mem.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_through_proc(&self) -> Result<(), Errno> {
        let read = || {
            let mut memory = File::open("/proc/self/mem")?;
            memory.seek(SeekFrom::Start(self.start.addr() as u64))?;
            memory.read_exact(&mut [0])
        };
        read().map_err(|error| Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// What /proc/self/pagemap has for the first page; 0 is nothing.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn pagemap(&self) -> std::io::Result<u64> {
        let mut file = File::open("/proc/self/pagemap")?;
        file.seek(SeekFrom::Start((self.start.addr() / PAGE * 8) as u64))?;
        let mut entry = [0; 8];
        file.read_exact(&mut entry)?;
        Ok(u64::from_ne_bytes(entry))
    }

    /// The words after `VmFlags:` in /proc/self/smaps.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn flags(&self) -> std::io::Result<Vec<String>> {
        let smaps = std::fs::read_to_string("/proc/self/smaps")?;
        let start = format!("{:x}-", self.start.addr());
        let flags = smaps
            .lines()
            .skip_while(|line| !line.starts_with(&start))
            .find_map(|line| line.strip_prefix("VmFlags:"));
        Ok(flags
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the bytes are ours and nothing refers to them any more.
        let _ = unsafe { rustix::mm::munmap(self.start.cast(), self.len) };
    }
}

fn done(returned: isize) -> Result<(), Errno> {
    if returned >= 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Err(Errno::from_raw_os_error(errno))
}
