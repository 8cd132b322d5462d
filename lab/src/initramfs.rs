//! Writes an initramfs: a cpio archive in the "newc" format
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::modules::Module;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

/// The archive as it grows.
#[derive(Debug, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Initramfs {
    /// One with `init` as process 1 and a console for it.
    ///
    /// # Errors
    /// When `init` can't be read.
    pub fn new(init: &Path) -> Result<Self> {
        let contents = fs::read(init).with_context(|| format!("reading {}", init.display()))?;
        Ok(Self::with_init(&contents))
    }

    /// One with these bytes as process 1 and a console for it.
    #[must_use]
    pub fn with_init(init: &[u8]) -> Self {
        let mut archive = Self::default();
        archive.contents("init", init);
        archive.folder("dev");
        // The kernel opens it before anybody can mount a devtmpfs.
        archive.entry("dev/console", CONSOLE, (5, 1), &[]);
        archive
    }

    /// Adds the file at `source` as `name`, executable.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn file(&mut self, name: &str, source: &Path) -> Result<()> {
        let contents = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
        self.contents(name, &contents);
        Ok(())
    }

    /// Adds a file of these bytes as `name`, with the folders on the way.
    pub fn contents(&mut self, name: &str, bytes: &[u8]) {
        for (at, _) in name.match_indices('/') {
            self.folder(&name[..at]);
        }
        self.entry(name, PROGRAM, (0, 0), bytes);
    }

    /// Adds modules as the init looks for them.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn modules(&mut self, modules: &[Module]) -> Result<()> {
        let mut order = String::new();
        for module in modules {
            self.file(&format!("modules/{}.ko", module.name), &module.file)?;
            order.push_str(&format!("{} {}\n", module.name, module.before.join(" ")));
        }
        self.contents("modules/order", order.as_bytes());
        Ok(())
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    /// Adds a folder, once.
    pub fn folder(&mut self, name: &str) {
        if self.folders.insert(name.to_owned()) {
            self.entry(name, DIRECTORY, (0, 0), &[]);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), bytes: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
    }

    /// Names and contents end on a multiple of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    #[test]
    fn folders_come_once_and_before_their_files() {
        let mut archive = Initramfs::default();
        archive.contents("a/b/one", b"1");
        archive.contents("a/b/two", b"22");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let names: Vec<&str> = text
            .split("070701")
            .skip(1)
            .map(|entry| entry[104..].split('\0').next().unwrap_or(""))
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/one", "a/b/two", "TRAILER!!!"]);
    }
}
