//! One PCI device.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use crate::dma_buf::DmaBuf;
use crate::error::{Error, Result, check_aligned, check_bounds};
use crate::sys::page::page_size;
use crate::sys::vfio as sys;
use crate::vfio::Space;
use crate::vfio::config::{COMMAND, Effect, Layout, MEMORY};

/// The region of the configuration space (`VFIO_PCI_CONFIG_REGION_INDEX`).
/// Regions 0 to 5 are the BARs.
pub const CONFIG_REGION: u32 = 7;

/// A range of a BAR: whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BarRange {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
}

/// A PCI device that this process drives. While it lives, its address space is
/// there (and its group is open, where it came by one).
///
/// Calls that take its memory away wait for everybody who holds a dma-buf of it,
/// in the kernel and without a limit: a fence that somebody else put into the
/// dma-buf keeps them. Make them where waiting harms nobody.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    address: String,
    space: Space,
    layout: Layout,
    resets: bool,
    /// Reading and writing back a register is one step.
    registers: Mutex<()>,
}

impl Device {
    pub(super) fn new(fd: OwnedFd, address: &str, space: Space) -> Result<Self> {
        let resets = sys::device_flags(fd.as_fd())? & sys::CAN_RESET != 0;
        let config = sys::region_info(fd.as_fd(), CONFIG_REGION)?;
        let layout = Layout::read(|at| {
            let mut byte = [0];
            read_exact(fd.as_fd(), config.offset + at, &mut byte).map(|()| byte[0])
        })?;
        Ok(Self {
            fd,
            address: address.to_owned(),
            space,
            layout,
            resets,
            registers: Mutex::default(),
        })
    }

    /// Where it is: "0000:00:03.0".
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address space that it reaches.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The size of a region in bytes; 0 if it has no such region.
    ///
    /// # Errors
    /// [`Error::Sys`] with EINVAL for a number that no device has.
    pub fn region_size(&self, region: u32) -> Result<u64> {
        Ok(sys::region_info(self.as_fd(), region)?.size)
    }

    /// Reads bytes of a region, as many as `target` holds.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::Sys`] with EIO while its memory is off.
    pub fn read(&self, region: u32, at: u64, target: &mut [u8]) -> Result<()> {
        let place = self.place(region, at, target.len())?;
        read_exact(self.as_fd(), place, target)
    }

    /// Writes bytes of a BAR. Configuration is written by
    /// [`write_config`](Self::write_config).
    ///
    /// # Errors
    /// As for [`read`](Self::read); [`Error::OutOfBounds`] for the configuration
    /// space.
    pub fn write(&self, region: u32, at: u64, source: &[u8]) -> Result<()> {
        if region == CONFIG_REGION {
            return Err(Error::OutOfBounds {
                offset: at,
                len: source.len() as u64,
                size: 0,
            });
        }
        let place = self.place(region, at, source.len())?;
        write_all(self.as_fd(), place, source)
    }

    /// What [`write_config`](Self::write_config) would do to the device's memory.
    #[must_use]
    pub fn effect_of(&self, at: u64, bytes: &[u8]) -> Effect {
        self.layout.effect(at, bytes)
    }

    /// Writes bytes of the configuration space. May take the device's memory
    /// away, and then waits as [`Device`] says.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Sys`].
    pub fn write_config(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let place = self.place(CONFIG_REGION, at, bytes.len())?;
        write_all(self.as_fd(), place, bytes)
    }

    /// Whether its memory is switched on.
    ///
    /// # Errors
    /// [`Error::Sys`].
    pub fn memory_is_on(&self) -> Result<bool> {
        Ok(self.command()? & MEMORY != 0)
    }

    /// Switches its memory on or off. May wait, as [`Device`] says.
    ///
    /// # Errors
    /// [`Error::Sys`].
    pub fn switch_memory(&self, on: bool) -> Result<()> {
        let _one_step = self
            .registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut command = self.command()? & !MEMORY;
        if on {
            command |= MEMORY;
        }
        self.write_config(COMMAND, &command.to_le_bytes())
    }

    /// Whether [`reset`](Self::reset) can work.
    #[must_use]
    pub fn can_reset(&self) -> bool {
        self.resets
    }

    /// Resets it (`VFIO_DEVICE_RESET`): its memory is gone meanwhile, and is on
    /// afterwards if it was before. May wait, as [`Device`] says.
    ///
    /// # Errors
    /// [`Error::Sys`].
    pub fn reset(&self) -> Result<()> {
        sys::device_reset(self.as_fd())
    }

    /// What [`reset_function`](Self::reset_function) writes, and where; `None`
    /// where the device can't.
    #[must_use]
    pub fn function_reset(&self) -> Option<(u64, u16)> {
        self.layout.function_reset()
    }

    /// Resets its function by its own register (FLR). As [`reset`](Self::reset).
    ///
    /// # Errors
    /// [`Error::NoDevice`] where it has no such register.
    pub fn reset_function(&self) -> Result<()> {
        let Some((at, bit)) = self.function_reset() else {
            return Err(Error::NoDevice {
                path: format!("function-level reset of {}", self.address).into(),
            });
        };
        let _one_step = self
            .registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut control = [0; 2];
        self.read(CONFIG_REGION, at, &mut control)?;
        let control = u16::from_le_bytes(control) | bit;
        self.write_config(at, &control.to_le_bytes())
    }

    /// Ranges of a BAR as one dma-buf, in their order. Others import it; nobody
    /// maps it.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Misaligned`], [`Error::OutOfBounds`];
    /// [`Error::Sys`] with ENOTTY on kernels before 6.19, ENODEV for a region
    /// that is no memory.
    pub fn export(&self, region: u32, ranges: &[BarRange]) -> Result<DmaBuf> {
        if ranges.is_empty() {
            return Err(Error::Empty {
                what: "a list of BAR ranges",
            });
        }
        let size = self.region_size(region)?;
        for range in ranges {
            if range.len == 0 {
                return Err(Error::Empty {
                    what: "a BAR range",
                });
            }
            check_aligned("BAR offset", range.offset, page_size())?;
            check_aligned("BAR length", range.len, page_size())?;
            check_bounds(range.offset, range.len, size)?;
        }
        let pairs: Vec<_> = ranges
            .iter()
            .map(|range| (range.offset, range.len))
            .collect();
        DmaBuf::try_from(sys::export_dma_buf(self.as_fd(), region, &pairs)?)
    }

    fn command(&self) -> Result<u16> {
        let mut command = [0; 2];
        self.read(CONFIG_REGION, COMMAND, &mut command)?;
        Ok(u16::from_le_bytes(command))
    }

    /// Where `len` bytes of a region are in the device's file.
    fn place(&self, region: u32, at: u64, len: usize) -> Result<u64> {
        let info = sys::region_info(self.as_fd(), region)?;
        check_bounds(at, len as u64, info.size)?;
        Ok(info.offset + at)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn read_exact(fd: BorrowedFd<'_>, at: u64, target: &mut [u8]) -> Result<()> {
    let got = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut *target, at))
        .map_err(|error| Error::sys("pread", error))?;
    whole("pread", got, target.len())
}

fn write_all(fd: BorrowedFd<'_>, at: u64, source: &[u8]) -> Result<()> {
    let put = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, source, at))
        .map_err(|error| Error::sys("pwrite", error))?;
    whole("pwrite", put, source.len())
}

/// VFIO does all of it or fails.
fn whole(call: &'static str, done: usize, asked: usize) -> Result<()> {
    if done == asked {
        return Ok(());
    }
    Err(Error::sys(
        call,
        std::io::Error::from(std::io::ErrorKind::UnexpectedEof),
    ))
}
