//! The embedded guest: a driver in this process, behind a small VMM.
//!
//! It has what a guest needs and no CPU: memory in a memfd, virtqueues in that
//! memory, a host-visible window that the device really maps into, and a VMM
//! that speaks vhost-user to the backend over a socket. [`gpu`] is a
//! virtio-gpu driver on top of it.
//!
//! ```text
//!   gpu::Gpu ─▶ EmbeddedGuest ─▶ Queue ─▶ Ring in Ram ─kick─▶ backend
//!                    │             ▲                            │
//!                    │             └── Interrupts ◀────call─────┤
//!                    └─ Vmm ─────── vhost-user socket ──────────┤
//!                        └─ GuestWindow ◀──── SHMEM_MAP ────────┘
//! ```

mod announcer;
pub mod gpu;
mod interrupts;
pub mod malformed;
mod queue;
mod ram;
mod raw;
mod ring;
mod space;
mod vmm;
mod window;

use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use landbridge_device::Device;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

pub use queue::{Answer, Pending};
pub use ram::{PAGE, Pages, RAM_BASE};
pub use raw::RawQueue;
pub use ring::Descriptor;
pub use window::{GuestWindow, Stall, WindowMap};

use crate::backend::{Backend, Connection, Link};
use crate::error::{Error, Result};
use interrupts::Interrupts;
use queue::{Queue, QueueConfig};
use ram::Ram;
use vmm::Vmm;

/// What kind of guest.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Its memory in bytes, a multiple of the page size.
    pub memory: u64,
    /// Descriptors a queue: a power of two.
    pub queue_size: u16,
    /// Put chains of more than one descriptor into tables of their own, as
    /// Linux does.
    pub indirect: bool,
    /// Tell the other side when to notify (`EVENT_IDX`), as Linux does.
    pub event_idx: bool,
    /// Which device features the driver accepts of those offered.
    pub features: u64,
    /// How long a driver waits for an answer.
    pub patience: Duration,
    /// After each map and unmap, tell the device of its own window, as QEMU
    /// does.
    pub announces_maps: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            queue_size: 256,
            indirect: true,
            event_idx: true,
            features: u64::MAX,
            patience: Duration::from_secs(10),
            announces_maps: false,
        }
    }
}

impl Config {
    fn accept(&self, offered: u64) -> u64 {
        let device = self.features & ((1 << 24) - 1);
        let mut wanted = device | 1 << VIRTIO_F_VERSION_1;
        if self.indirect {
            wanted |= 1 << VIRTIO_RING_F_INDIRECT_DESC;
        }
        if self.event_idx {
            wanted |= 1 << VIRTIO_RING_F_EVENT_IDX;
        }
        offered & wanted
    }
}

/// A guest with one device.
pub struct EmbeddedGuest {
    // In the order in which they are to be dropped: nobody waits for a device
    // that is gone, and the VMM hangs up before its device is waited for.
    _interrupts: Interrupts,
    vmm: Vmm,
    connection: Option<Connection>,
    window: Option<Arc<GuestWindow>>,
    queues: Vec<Arc<Queue>>,
    ram: Arc<Ram>,
    features: u64,
    config: Config,
}

impl EmbeddedGuest {
    /// Starts a guest with `device`, which was made with `link`.
    ///
    /// # Errors
    /// [`Error::Host`] or [`Error::Memory`] where this machine can't,
    /// [`Error::Device`] where the device doesn't do as the protocol says.
    pub fn start(device: Arc<dyn Device>, link: Link, config: Config) -> Result<Self> {
        let (stream, connection) = Backend::new(device, link).connect()?;
        let mut guest = Self::attach(stream, config)?;
        guest.connection = Some(connection);
        Ok(guest)
    }

    /// Starts a guest with the device at the other end of a vhost-user socket.
    ///
    /// # Errors
    /// As for [`EmbeddedGuest::start`].
    pub fn attach(stream: UnixStream, config: Config) -> Result<Self> {
        let mut vmm = Vmm::connect(stream)?;
        let ram = Ram::new(config.memory)?;
        let window = match vmm.region()? {
            Some((region, size)) => Some(Arc::new(GuestWindow::new(region, size)?)),
            None => None,
        };
        if let Some(window) = &window {
            vmm.open_channel(window, config.announces_maps.then_some(&ram))?;
        }
        let features = config.accept(vmm.offered());
        let has = |bit: u32| features & 1 << bit != 0;
        let queue_config = QueueConfig {
            size: config.queue_size,
            event_idx: has(VIRTIO_RING_F_EVENT_IDX),
            indirect: has(VIRTIO_RING_F_INDIRECT_DESC),
        };
        let queues = (0..vmm.queues())
            .map(|_| Queue::new(&ram, queue_config).map(Arc::new))
            .collect::<Result<Vec<_>>>()?;
        vmm.bind(features, &ram, &queues, &[])?;
        Ok(Self {
            _interrupts: Interrupts::start(queues.clone())?,
            vmm,
            connection: None,
            window,
            queues,
            ram,
            features,
            config,
        })
    }

    /// The features that device and driver agreed on.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// How long a driver waits for an answer.
    pub fn patience(&self) -> Duration {
        self.config.patience
    }

    /// The host-visible window, if the device has one.
    pub fn window(&self) -> Option<&GuestWindow> {
        self.window.as_deref()
    }

    /// Contiguous pages of the guest's memory.
    ///
    /// # Errors
    /// [`Error::GuestFull`].
    pub fn allocate(&self, len: u64) -> Result<Pages> {
        self.ram.allocate(len)
    }

    /// Reads from the device's configuration space.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn config(&self, offset: u32, len: usize) -> Result<Vec<u8>> {
        self.vmm.config(offset, len)
    }

    /// Writes to the device's configuration space.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn write_config(&self, offset: u32, bytes: &[u8]) -> Result<()> {
        self.vmm.write_config(offset, bytes)
    }

    /// Sends a request with room for an answer of at most `room` bytes.
    ///
    /// # Errors
    /// [`Error::GuestFull`] without memory or descriptors,
    /// [`Error::OutOfBounds`] for a queue that the device doesn't have.
    pub fn submit(&self, queue: usize, request: &[u8], room: usize) -> Result<Pending> {
        self.queue(queue)?.submit(request, room)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// As for [`EmbeddedGuest::submit`] and [`Pending::wait`].
    pub fn request(&self, queue: usize, request: &[u8], room: usize) -> Result<Vec<u8>> {
        let pending = self.submit(queue, request, room)?;
        Ok(pending.wait(self.config.patience)?.bytes)
    }

    /// Raw access to a queue.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] for a queue that the device doesn't have.
    pub fn raw(&self, queue: usize) -> Result<RawQueue<'_>> {
        Ok(RawQueue {
            queue: self.queue(queue)?,
        })
    }

    /// The driver is unbound and bound again, as by a reboot of the guest.
    /// Requests that are out get [`Error::Ended`].
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn rebind(&self) -> Result<()> {
        self.vmm.unbind()?;
        self.start_over()
    }

    /// The VMM pauses the VM, until [`Paused::go_on`]. The driver notices nothing.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn pause(&self) -> Result<Paused<'_>> {
        let bases = self.vmm.unbind()?;
        Ok(Paused { guest: self, bases })
    }

    /// The VMM resets the device, and the driver starts over.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn reset(&self) -> Result<()> {
        self.vmm.reset()?;
        self.start_over()
    }

    /// The VMM dies: it hangs up at once, in the middle of whatever is going
    /// on. Nothing works afterwards.
    pub fn hang_up(&self) {
        self.vmm.hang_up();
    }

    /// Ends the guest and waits for its device.
    ///
    /// # Errors
    /// [`Error::Vmm`] if the backend found fault with this VMM.
    pub fn stop(mut self) -> Result<()> {
        self.hang_up();
        match self.connection.take() {
            Some(connection) => connection.wait(),
            None => Ok(()),
        }
    }

    fn start_over(&self) -> Result<()> {
        if let Some(window) = &self.window {
            window.clear()?;
            self.vmm.forget_maps();
        }
        for queue in &self.queues {
            queue.restart()?;
        }
        self.vmm.bind(self.features, &self.ram, &self.queues, &[])
    }

    fn queue(&self, index: usize) -> Result<&Queue> {
        self.queues
            .get(index)
            .map(Arc::as_ref)
            .ok_or(Error::OutOfBounds {
                what: "the device's queues",
                offset: index as u64,
                len: 1,
            })
    }
}

/// A guest whose VM is paused.
#[derive(Debug)]
pub struct Paused<'a> {
    guest: &'a EmbeddedGuest,
    bases: Vec<u16>,
}

impl Paused<'_> {
    /// The VM goes on.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn go_on(self) -> Result<()> {
        let EmbeddedGuest {
            vmm,
            ram,
            queues,
            features,
            ..
        } = self.guest;
        vmm.bind(*features, ram, queues, &self.bases)
    }
}

impl Drop for EmbeddedGuest {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl fmt::Debug for EmbeddedGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedGuest")
            .field("config", &self.config)
            .field("features", &self.features)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
