//! Finds a virtio-serial port by the name that QEMU gave it.

use std::fs::{File, OpenOptions, read_dir, read_to_string};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const FOLDER: &str = "/sys/class/virtio-ports";

/// The console driver learns the ports' names from a message of the device,
/// which comes a moment after the device itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the port called `name` for reading and writing.
///
/// # Errors
/// When no port has that name, even after a while.
pub fn open(name: &str) -> Result<File> {
    let start = Instant::now();
    loop {
        if let Some(path) = find(name) {
            return OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .with_context(|| format!("opening {}", path.display()));
        }
        if start.elapsed() > PATIENCE {
            bail!("no virtio-serial port is called {name}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn find(name: &str) -> Option<PathBuf> {
    read_dir(FOLDER).ok()?.flatten().find_map(|entry| {
        let port = read_to_string(entry.path().join("name")).ok()?;
        (port.trim() == name).then(|| PathBuf::from("/dev").join(entry.file_name()))
    })
}
