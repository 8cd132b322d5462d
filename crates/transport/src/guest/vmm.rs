//! The VMM around the embedded guest: the frontend of vhost-user.
//!
//! The messages and their order are those of QEMU 11.1 when it starts a
//! vhost-user device and when a driver binds, unbinds and resets it.

use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures as Protocol,
    VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Frontend, FrontendReqHandler, VhostUserFrontend};
use vhost::{VhostBackend, VringConfigData};

use super::announcer::{Announcer, VMM_BASE, region};
use super::queue::Queue;
use super::ram::{RAM_BASE, Ram};
use super::window::GuestWindow;
use crate::asserted;
use crate::error::{Error, Result};

/// The protocol features that are asked for where they are offered.
const WANTED: Protocol = Protocol::MQ
    .union(Protocol::CONFIG)
    .union(Protocol::REPLY_ACK)
    .union(Protocol::BACKEND_REQ)
    .union(Protocol::BACKEND_SEND_FD)
    .union(Protocol::RESET_DEVICE)
    .union(Protocol::CONFIGURE_MEM_SLOTS)
    .union(Protocol::SHARED_OBJECT)
    .union(Protocol::SHMEM);

/// The frontend's end of a vhost-user connection.
pub(super) struct Vmm {
    frontend: Mutex<Frontend>,
    socket: UnixStream,
    offered: u64,
    protocol: Protocol,
    queues: usize,
    channel: Option<Channel>,
}

impl Vmm {
    /// Gets to know the device at the other end of `stream`.
    pub(super) fn connect(stream: UnixStream) -> Result<Self> {
        let socket = stream
            .try_clone()
            .map_err(|error| Error::host("share a socket", error))?;
        let mut frontend = Frontend::from_stream(stream, 1);
        frontend.set_owner().map_err(failed("accept an owner"))?;
        let offered = frontend
            .get_features()
            .map_err(failed("tell its features"))?;
        let protocol = WANTED
            & frontend
                .get_protocol_features()
                .map_err(failed("tell its protocol features"))?;
        frontend
            .set_protocol_features(protocol)
            .map_err(failed("take protocol features"))?;
        if protocol.contains(Protocol::REPLY_ACK) {
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
        let queues = frontend
            .get_queue_num()
            .map_err(failed("tell how many queues it has"))?;
        Ok(Self {
            frontend: Mutex::new(frontend),
            socket,
            offered,
            protocol,
            queues: queues as usize,
            channel: None,
        })
    }

    /// The virtio features that the device offers.
    pub(super) fn offered(&self) -> u64 {
        self.offered
    }

    pub(super) fn queues(&self) -> usize {
        self.queues
    }

    /// The device's shared memory region: its id and size in bytes.
    pub(super) fn region(&self) -> Result<Option<(u8, u64)>> {
        if !self.protocol.contains(Protocol::SHMEM) {
            return Ok(None);
        }
        let config = self
            .frontend()
            .get_shmem_config()
            .map_err(failed("tell its shared memory regions"))?;
        let sizes = (0..=u8::MAX).zip(config.memory_sizes);
        let regions: Vec<_> = sizes.filter(|(_, size)| *size != 0).collect();
        let count = config.nregions as usize;
        match (regions.as_slice(), count) {
            ([], 0) => Ok(None),
            ([(_, size)], 1) if !size.is_power_of_two() => Err(Error::device(
                "offer a window that a VMM survives",
                format!("{size:#x} bytes is not a power of two"),
            )),
            ([region], 1) => Ok(Some(*region)),
            _ => Err(Error::device(
                "tell its shared memory regions",
                format!("{count} announced, {} given", regions.len()),
            )),
        }
    }

    /// Opens the channel on which the device asks for maps. With `announced`,
    /// the device is told of what is mapped, as part of this memory.
    pub(super) fn open_channel(
        &mut self,
        window: &Arc<GuestWindow>,
        announced: Option<&Arc<Ram>>,
    ) -> Result<()> {
        if !self.protocol.contains(Protocol::BACKEND_REQ) {
            return Ok(());
        }
        let window = Arc::clone(window);
        let announcer = Arc::new(match announced {
            Some(ram) => Announcer::new(window, self.frontend().clone(), Arc::clone(ram)),
            None => Announcer::silent(window),
        });
        let (channel, far) = Channel::open(announcer)?;
        self.frontend()
            .set_backend_request_fd(&far)
            .map_err(failed("take the request channel"))?;
        self.channel = Some(channel);
        Ok(())
    }

    /// Reads from the device's configuration space.
    pub(super) fn config(&self, offset: u32, len: usize) -> Result<Vec<u8>> {
        let room = vec![0; len];
        let (_, bytes) = self
            .frontend()
            .get_config(offset, len as u32, VhostUserConfigFlags::empty(), &room)
            .map_err(failed("tell its configuration"))?;
        Ok(bytes)
    }

    /// Writes to the device's configuration space.
    pub(super) fn write_config(&self, offset: u32, bytes: &[u8]) -> Result<()> {
        self.frontend()
            .set_config(offset, VhostUserConfigFlags::WRITABLE, bytes)
            .map_err(failed("take its configuration"))
    }

    /// A driver binds: features, memory, rings. Each ring begins at its base.
    pub(super) fn bind(
        &self,
        features: u64,
        ram: &Ram,
        queues: &[Arc<Queue>],
        bases: &[u16],
    ) -> Result<()> {
        let mut frontend = self.frontend();
        let features = features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        frontend
            .set_features(features)
            .map_err(failed("take the features"))?;
        let memory = region((RAM_BASE, ram.size(), VMM_BASE), &ram.file());
        frontend
            .set_mem_table(&[memory])
            .map_err(failed("take the memory table"))?;
        for (index, queue) in queues.iter().enumerate() {
            let base = bases.get(index).copied().unwrap_or(0);
            start(&mut frontend, index, queue, base).map_err(failed("start a queue"))?;
        }
        Ok(())
    }

    /// The driver unbinds, or the VM is rebooted: QEMU sends no reset, but
    /// stops the queues and takes its maps away by itself.
    /// A VM that is paused says the same. Returns where the queues are.
    pub(super) fn unbind(&self) -> Result<Vec<u16>> {
        let frontend = self.frontend();
        let base = |queue| frontend.get_vring_base(queue).map(|base| base as u16);
        (0..self.queues)
            .map(|queue| base(queue).map_err(failed("stop a queue")))
            .collect()
    }

    /// The VMM resets the device.
    pub(super) fn reset(&self) -> Result<()> {
        self.frontend()
            .reset_device()
            .map_err(failed("reset itself"))
    }

    /// The window has been emptied.
    pub(super) fn forget_maps(&self) {
        if let Some(channel) = &self.channel {
            channel.announcer.forget();
        }
    }

    /// Hangs up at once, whatever is going on.
    pub(super) fn hang_up(&self) {
        // It fails when the other end was first.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(channel) = &self.channel {
            channel.hang_up();
        }
    }

    fn frontend(&self) -> MutexGuard<'_, Frontend> {
        self.frontend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(frontend: &mut Frontend, index: usize, queue: &Queue, base: u16) -> vhost::Result<()> {
    let (size, place) = queue.place();
    let in_vmm = |address: u64| address - RAM_BASE + VMM_BASE;
    frontend.set_vring_num(index, size)?;
    frontend.set_vring_base(index, base)?;
    frontend.set_vring_addr(
        index,
        &VringConfigData {
            queue_max_size: size,
            queue_size: size,
            flags: 0,
            desc_table_addr: in_vmm(place.table),
            used_ring_addr: in_vmm(place.used),
            avail_ring_addr: in_vmm(place.available),
            log_addr: None,
        },
    )?;
    frontend.set_vring_call(index, &queue.call)?;
    frontend.set_vring_kick(index, &queue.kick)?;
    frontend.set_vring_enable(index, true)
}

fn failed(call: &'static str) -> impl Fn(vhost::Error) -> Error {
    move |error| Error::device(call, error)
}

/// The thread that serves the device's requests. Dropping it ends it.
struct Channel {
    socket: UnixStream,
    announcer: Arc<Announcer>,
    thread: Option<JoinHandle<()>>,
}

impl Channel {
    /// The channel and the device's end of it.
    fn open(announcer: Arc<Announcer>) -> Result<(Self, UnixStream)> {
        let host = |error| Error::host("share a socket", error);
        let mut handler = FrontendReqHandler::new(Arc::clone(&announcer))
            .map_err(|error| Error::host("make a socket pair", std::io::Error::other(error)))?;
        handler.set_reply_ack_flag(true);
        let socket = UnixStream::from(asserted::duplicate(&handler).map_err(host)?);
        let far = asserted::duplicate(&Far(handler.get_tx_raw_fd())).map_err(host)?;
        let served = socket.try_clone().map_err(host)?;
        let thread = std::thread::Builder::new()
            .name("guest window".to_owned())
            .spawn(move || {
                serve(&mut handler);
                // The device is not to wait for answers that never come.
                let _ = served.shutdown(Shutdown::Both);
            })
            .map_err(|error| Error::host("start a thread", error))?;
        let channel = Self {
            socket,
            announcer,
            thread: Some(thread),
        };
        Ok((channel, far.into()))
    }

    fn hang_up(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.hang_up();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the request channel's thread panicked");
        }
    }
}

/// Answers requests until the channel breaks.
fn serve(handler: &mut FrontendReqHandler<Announcer>) {
    loop {
        match handler.handle_request() {
            // A refusal has been answered.
            Ok(_) | Err(vhost::vhost_user::Error::ReqHandlerError(_)) => {}
            Err(error) => {
                tracing::debug!(%error, "the request channel ended");
                return;
            }
        }
    }
}

/// A descriptor that vhost gives as a number only.
struct Far(std::os::fd::RawFd);

impl AsRawFd for Far {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0
    }
}
