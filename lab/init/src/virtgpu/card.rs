//! One card of the virtio-gpu driver.

use std::fs::{canonicalize, read_dir, read_to_string};
use std::io::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use landbridge_dmabuf::gem::{Device, Object};
use rustix::io::Errno;

const DRIVER: &str = "virtio_gpu";

/// The driver probes when its module is loaded, or a moment later.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open primary node of the virtio-gpu driver. The first to open it is
/// its master.
#[derive(Debug)]
pub struct Card {
    pub(super) device: Device,
    /// What scenarios hold by its handle.
    objects: Mutex<Vec<Object>>,
    virtio: String,
}

impl Card {
    /// Opens the card number `index`, in the order of the devices' PCI
    /// addresses.
    ///
    /// # Errors
    /// When there is none, even after a while.
    pub fn open(index: usize) -> Result<Self> {
        let start = Instant::now();
        loop {
            // One that comes or goes while the cards are listed is half there.
            let missing = match Self::all().map(|all| all.into_iter().nth(index)) {
                // A card's node is there a little before it can be opened.
                Ok(Some((device, node))) => match Device::open(&node) {
                    Ok(opened) => match Self::of(opened, &device).whole() {
                        Ok(card) => return Ok(card),
                        Err(error) => error.into(),
                    },
                    Err(error) => Error::other(error),
                },
                Ok(None) => Error::other(format!("no card {index} of {DRIVER}")),
                Err(error) => error,
            };
            if start.elapsed() > PATIENCE {
                return Err(missing);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// An open card that the kernel knows as `device`.
    fn of(opened: Device, device: &Path) -> Self {
        let virtio = device.file_name().unwrap_or_default();
        Self {
            device: opened,
            objects: Mutex::default(),
            virtio: virtio.to_string_lossy().into_owned(),
        }
    }

    /// Itself, unless its outputs are listed and can't be asked yet: the kernel
    /// registers them last.
    fn whole(self) -> std::result::Result<Self, Errno> {
        match self.connectors() {
            Err(Errno::NOENT) => Err(Errno::NOENT),
            _ => Ok(self),
        }
    }

    fn objects(&self) -> MutexGuard<'_, Vec<Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an object until its handle is closed.
    pub(super) fn keep(&self, object: Object) -> u32 {
        let handle = object.handle();
        self.objects().push(object);
        handle
    }

    /// The object with this handle.
    ///
    /// # Errors
    /// ENOENT, as the kernel says of a handle that is not open.
    pub(super) fn object(&self, handle: u32) -> std::result::Result<Object, Errno> {
        let objects = self.objects();
        let found = objects.iter().find(|object| object.handle() == handle);
        found.cloned().ok_or(Errno::NOENT)
    }

    /// Gives back one share in a handle.
    ///
    /// # Errors
    /// EINVAL, as the kernel says of a handle that is not open.
    pub fn close(&self, handle: u32) -> std::result::Result<(), Errno> {
        let mut objects = self.objects();
        let found = objects.iter().position(|object| object.handle() == handle);
        objects.swap_remove(found.ok_or(Errno::INVAL)?);
        Ok(())
    }

    /// The virtio device behind it: "virtio3".
    #[must_use]
    pub fn virtio(&self) -> &str {
        &self.virtio
    }

    /// The guest-physical address of the window, which is BAR 4.
    ///
    /// # Errors
    /// When the device has none.
    pub fn window(&self) -> Result<u64> {
        let device = canonicalize(format!("/sys/bus/virtio/devices/{}", self.virtio))?;
        let resources = read_to_string(device.with_file_name("resource"))?;
        resources
            .lines()
            .nth(4)
            .and_then(|line| line.split_whitespace().next()?.strip_prefix("0x"))
            .and_then(|start| u64::from_str_radix(start, 16).ok())
            .filter(|start| *start != 0)
            .ok_or_else(|| Error::other("no BAR 4"))
    }

    /// Takes the driver away from the virtio device `virtio`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unbind(virtio: &str) -> Result<()> {
        std::fs::write(format!("/sys/bus/virtio/drivers/{DRIVER}/unbind"), virtio)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bind(virtio: &str) -> Result<()> {
        std::fs::write(format!("/sys/bus/virtio/drivers/{DRIVER}/bind"), virtio)
    }

    /// The virtio devices that the driver has and their nodes, by PCI address.
    /// A card belongs to the PCI device above the virtio device.
    fn all() -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut found = Vec::new();
        let Ok(devices) = read_dir(format!("/sys/bus/virtio/drivers/{DRIVER}")) else {
            return Ok(found);
        };
        for device in devices.flatten() {
            if !device.file_name().to_string_lossy().starts_with("virtio") {
                continue;
            }
            let device = canonicalize(device.path())?;
            let Ok(nodes) = read_dir(device.with_file_name("drm")) else {
                continue;
            };
            let nodes = nodes.flatten().map(|node| node.file_name());
            let card = nodes
                .into_iter()
                .find(|name| name.to_string_lossy().starts_with("card"));
            if let Some(node) = card.map(|name| PathBuf::from("/dev/dri").join(name))
                && node.exists()
            {
                found.push((device, node));
            }
        }
        found.sort();
        Ok(found)
    }
}

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
