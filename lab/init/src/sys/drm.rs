//! DRM devices: finding one by its driver, dumb buffers, PRIME, vgem's fences,
//! qxl's surfaces, virtio-gpu's blobs (include/uapi/drm/{drm,drm_mode,
//! vgem_drm,qxl_drm,virtgpu_drm}.h).
#![expect(unsafe_code, reason = "declares which structures ioctls take")]

use std::fs::{File, OpenOptions, read_dir};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::ioctl::{Argument, ioctl};

const VERSION: u32 = 0xc040_6400;
const GEM_CLOSE: u32 = 0x4008_6409;
const HANDLE_TO_FD: u32 = 0xc00c_642d;
const FD_TO_HANDLE: u32 = 0xc00c_642e;
const CREATE_DUMB: u32 = 0xc020_64b2;
const VGEM_FENCE_ATTACH: u32 = 0xc010_6441;
const VGEM_FENCE_SIGNAL: u32 = 0x4008_6442;
const QXL_ALLOC_SURF: u32 = 0xc018_6446;
const VIRTGPU_CREATE_BLOB: u32 = 0xc030_644a;

/// `DRM_RDWR`.
pub const RDWR: u32 = 2;
/// `DRM_CLOEXEC`.
pub const CLOEXEC: u32 = 0o200_0000;

/// `struct drm_prime_handle`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Prime {
    /// The GEM handle.
    pub handle: u32,
    /// RDWR and CLOEXEC.
    pub flags: u32,
    /// The dma-buf.
    pub fd: i32,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct Dumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct Close {
    handle: u32,
    pad: u32,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct FenceAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct FenceSignal {
    fence: u32,
    flags: u32,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct Surface {
    format: u32,
    width: u32,
    height: u32,
    stride: i32,
    handle: u32,
    pad: u32,
}

/// `struct drm_virtgpu_resource_create_blob`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Blob {
    /// GUEST 1, HOST3D 2, HOST3D_GUEST 3.
    pub blob_mem: u32,
    /// MAPPABLE 1, SHAREABLE 2, CROSS_DEVICE 4.
    pub blob_flags: u32,
    /// The GEM handle comes back in it.
    pub bo_handle: u32,
    /// The resource's number comes back in it.
    pub res_handle: u32,
    /// In bytes.
    pub size: u64,
    /// Must be 0.
    pub pad: u32,
    /// Bytes of the 3D command.
    pub cmd_size: u32,
    /// The address of the 3D command, which is only read.
    pub cmd: u64,
    /// The host's name for it.
    pub blob_id: u64,
}

// SAFETY (all of these): integers only, repr(C), without gaps, and no field is
// an address that the kernel writes to.
macro_rules! arguments {
    ($($structure:ty),*) => {
        $(
            // SAFETY: see above the macro.
            unsafe impl Argument for $structure {}
        )*
    };
}
arguments!(Prime, Dumb, Close, FenceAttach, FenceSignal, Surface, Blob);

#[repr(C)]
struct Version {
    numbers: [i32; 4],
    name_len: usize,
    name: *mut u8,
    rest: [usize; 4],
}

/// An open primary node.
#[derive(Debug)]
pub struct Card {
    file: File,
}

/// A GEM object of one card, with the size that the driver gave it.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// The handle.
    pub handle: u32,
    /// In bytes.
    pub size: u64,
}

impl Card {
    /// Opens the first card whose driver is `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(name: &str) -> std::io::Result<Self> {
        for entry in read_dir("/dev/dri")? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("card") {
                continue;
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(entry.path())?;
            if driver(&file)? == name {
                return Ok(Self { file });
            }
        }
        Err(std::io::Error::other(format!(
            "no card is driven by {name}"
        )))
    }

    /// Makes a dumb buffer of 32 bits a pixel that has at least `size` bytes:
    /// rows of 1024 pixels, a page each.
    ///
    /// # Errors
    /// What the driver says.
    pub fn dumb(&self, size: u64) -> Result<Object, Errno> {
        let mut dumb = Dumb {
            height: u32::try_from(size.div_ceil(4096)).unwrap_or(u32::MAX),
            width: 1024,
            bpp: 32,
            ..Dumb::default()
        };
        ioctl(&self.file, CREATE_DUMB, &mut dumb)?;
        Ok(Object {
            handle: dumb.handle,
            size: dumb.size,
        })
    }

    /// Makes a qxl surface of at least `size` bytes, in the adapter's BAR.
    ///
    /// # Errors
    /// What the driver says.
    pub fn surface(&self, size: u64) -> Result<Object, Errno> {
        let height = u32::try_from(size.div_ceil(4096)).unwrap_or(u32::MAX);
        let mut surface = Surface {
            // SPICE_SURFACE_FMT_32_xRGB
            format: 32,
            width: 1024,
            height,
            stride: 4096,
            ..Surface::default()
        };
        ioctl(&self.file, QXL_ALLOC_SURF, &mut surface)?;
        Ok(Object {
            handle: surface.handle,
            // The driver adds a row's worth of slack.
            size: u64::from(height) * 4096 + 4096,
        })
    }

    /// Exports an object with any flags.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn export(&self, handle: u32, flags: u32) -> Result<OwnedFd, Errno> {
        let mut prime = Prime {
            handle,
            flags,
            fd: -1,
        };
        ioctl(&self.file, HANDLE_TO_FD, &mut prime)?;
        // SAFETY: the ioctl succeeded, so this is a new descriptor that nobody
        // else knows.
        Ok(unsafe { OwnedFd::from_raw_fd(prime.fd) })
    }

    /// Imports a descriptor that may be anything.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn import(&self, fd: impl AsFd) -> Result<u32, Errno> {
        self.import_number(fd.as_fd().as_raw_fd())
    }

    /// Imports a descriptor by its number, which may be no descriptor at all.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn import_number(&self, fd: i32) -> Result<u32, Errno> {
        let mut prime = Prime {
            fd,
            ..Prime::default()
        };
        ioctl(&self.file, FD_TO_HANDLE, &mut prime)?;
        Ok(prime.handle)
    }

    /// Closes a handle.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn close(&self, handle: u32) -> Result<(), Errno> {
        ioctl(&self.file, GEM_CLOSE, &mut Close { handle, pad: 0 })?;
        Ok(())
    }

    /// vgem: attaches a new fence to the object, as a writer or a reader.
    ///
    /// # Errors
    /// What the driver says.
    pub fn attach_fence(&self, handle: u32, write: bool) -> Result<u32, Errno> {
        let mut attach = FenceAttach {
            handle,
            flags: u32::from(write),
            ..FenceAttach::default()
        };
        ioctl(&self.file, VGEM_FENCE_ATTACH, &mut attach)?;
        Ok(attach.out_fence)
    }

    /// vgem: signals a fence.
    ///
    /// # Errors
    /// What the driver says.
    pub fn signal_fence(&self, fence: u32) -> Result<(), Errno> {
        ioctl(
            &self.file,
            VGEM_FENCE_SIGNAL,
            &mut FenceSignal { fence, flags: 0 },
        )?;
        Ok(())
    }

    /// virtio-gpu: makes a blob resource.
    ///
    /// # Errors
    /// What the driver says.
    pub fn create_blob(&self, blob: &mut Blob) -> Result<(), Errno> {
        ioctl(&self.file, VIRTGPU_CREATE_BLOB, blob)?;
        Ok(())
    }
}

fn driver(file: &File) -> Result<String, Errno> {
    let mut name = [0_u8; 32];
    let mut version = Version {
        numbers: [0; 4],
        name_len: name.len(),
        name: name.as_mut_ptr(),
        rest: [0; 4],
    };
    const { assert!(size_of::<Version>() == 64) };
    // SAFETY: a whole `struct drm_version`; the kernel writes at most
    // `name_len` bytes at `name`, which has as many, and nothing at the other
    // two addresses, whose lengths are 0.
    let returned = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            libc::c_ulong::from(VERSION),
            std::ptr::from_mut(&mut version),
        )
    };
    if returned < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        return Err(Errno::from_raw_os_error(errno));
    }
    let len = version.name_len.min(name.len());
    Ok(String::from_utf8_lossy(&name[..len]).into_owned())
}
