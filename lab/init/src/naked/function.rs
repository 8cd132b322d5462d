//! A PCI function without a driver, through sysfs
//! (Documentation/PCI/sysfs-pci.rst).

use std::fs::{File, OpenOptions, read_link, write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::sys::memory::{How, Map};

/// In configuration space (PCI 3.0, section 6.1).
const COMMAND: u64 = 0x04;
const CAPABILITIES: u64 = 0x34;
/// In the command register: memory, bus mastering, no legacy interrupts.
const WANTED: u16 = 1 << 1 | 1 << 2 | 1 << 10;

/// `PCI_CAP_ID_VNDR`.
const VENDOR: u8 = 0x09;

/// A function that was taken from its driver.
#[derive(Debug)]
pub(super) struct Function {
    folder: PathBuf,
    driver: PathBuf,
    address: String,
    config: File,
}

/// A structure of a virtio device in one of its BARs (virtio 1.3, section
/// 4.1.4).
#[derive(Debug)]
pub(super) struct Structure {
    pub(super) kind: u8,
    pub(super) bar: u8,
    pub(super) offset: usize,
    pub(super) len: usize,
    /// What follows the structure in the capability.
    pub(super) more: u32,
}

impl Function {
    /// Takes the function at `folder`, an absolute path in sysfs, from its
    /// driver.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let driver = folder.join("driver");
        let link = read_link(&driver).context("the function has no driver")?;
        let name = link.file_name().context("a driver without a name")?;
        let address = folder.file_name().context("a function without address")?;
        let address = address.to_string_lossy().into_owned();
        write(driver.join("unbind"), &address).context("unbinding the driver")?;
        let config = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join("config"))?;
        let taken = Self {
            folder: folder.to_owned(),
            driver: Path::new("/sys/bus/pci/drivers").join(name),
            address,
            config,
        };
        taken.enable("1").context("enabling the function")?;
        taken.config.write_all_at(&WANTED.to_le_bytes(), COMMAND)?;
        Ok(taken)
    }

    fn enable(&self, how: &str) -> std::io::Result<()> {
        write(self.folder.join("enable"), how)
    }

    /// The structures that the device's capabilities name.
    pub(super) fn structures(&self) -> Result<Vec<Structure>> {
        let mut found = Vec::new();
        let mut at = self.byte(CAPABILITIES)?;
        while at != 0 && found.len() < 32 {
            let mut bytes = [0; 20];
            self.config.read_exact_at(&mut bytes, at.into())?;
            let word = |at: usize| {
                u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            if bytes[0] == VENDOR {
                found.push(Structure {
                    kind: bytes[3],
                    bar: bytes[4],
                    offset: word(8) as usize,
                    len: word(12) as usize,
                    more: word(16),
                });
            }
            at = bytes[1];
        }
        Ok(found)
    }

    fn byte(&self, at: u64) -> Result<u8> {
        let mut byte = [0];
        self.config.read_exact_at(&mut byte, at)?;
        Ok(byte[0])
    }

    /// Maps a whole BAR.
    pub(super) fn bar(&self, number: u8) -> Result<Map> {
        let path = self.folder.join(format!("resource{number}"));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let len = usize::try_from(file.metadata()?.len())?;
        ensure!(len > 0, "{} is empty", path.display());
        Ok(Map::new(&file, 0, len, How::SHARED)?)
    }

    /// Gives the function back to the driver that it was taken from.
    pub(super) fn give_back(self) -> Result<()> {
        self.enable("0")?;
        write(self.driver.join("bind"), &self.address).context("binding the driver")
    }
}
