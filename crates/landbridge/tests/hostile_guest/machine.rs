//! A virtio-gpu device behind vhost-user, and the hostile guest in front of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landbridge_device_gpu::{Bounds, FakeDisplay, Gpu, GpuConfig, Mode, Output};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::{Exchange, Limits, Tenant};
use landbridge_hostile::Request;
use landbridge_hostile::layout::{self, DATA, DATA_PAGES, RAM, WINDOW};
use landbridge_protocol_gpu::{
    CONTROL_QUEUE, CURSOR_QUEUE, Command, ControlHeader, Features, Response,
};
use landbridge_transport::guest::{self, Config, Descriptor, EmbeddedGuest, PAGE, Pages};
use landbridge_transport::{Backend, Connection, Link};

use crate::row::{Seen, judge};

/// What the room for an answer holds before the device writes.
pub(crate) const PATTERN: u8 = 0xa5;

/// What the guest may hold at most.
pub(crate) const LIMITS: Limits = Limits {
    pinned_bytes: layout::BYTES,
    bytes: layout::BYTES,
    mappings: layout::MAPPINGS,
    buffers: layout::BUFFERS,
    attachments: layout::ATTACHMENTS,
    window_maps: layout::WINDOW_MAPS,
};

/// How many resources the guest may have, with memory or without.
pub(crate) const RESOURCES: usize = 200;

/// How many commands may wait for a buffer.
pub(crate) const WAITING: usize = 32;

/// Nothing here takes this long; a machine under load may.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A device that guests come to and leave, one after another.
pub(crate) struct Machine {
    pub(crate) device: Arc<Gpu>,
    pub(crate) backend: Backend,
    pub(crate) display: Arc<FakeDisplay>,
    pub(crate) exchange: Exchange,
    pub(crate) tenant: Tenant,
    guest: Option<Guest>,
}

/// One guest's time with the device.
pub(crate) struct Guest {
    /// A well-behaved driver, for everything that is no attack.
    pub(crate) driver: guest::gpu::Gpu,
    /// Pages that the rows use as they like: always at the same address.
    pub(crate) data: Pages,
    connection: Connection,
}

impl Machine {
    pub(crate) fn start() -> Result<Self> {
        let exchange = Exchange::new();
        let tenant = Tenant::new("guest", LIMITS);
        let outputs = layout::OUTPUTS
            .iter()
            .map(|(width, height)| Output::new(*width, *height))
            .collect::<Result<Vec<_>, _>>()?;
        let bounds = Bounds {
            resources: RESOURCES,
            contexts: 8,
            context_resources: 16,
            waiting: WAITING,
            patience: Duration::from_secs(2),
            ..Bounds::default()
        };
        let mode = Mode::HostVisible { window: WINDOW };
        let config = GpuConfig::new(outputs, mode, tenant.clone())?;
        // As `landbridge serve` does.
        let config = config.with_bounds(bounds).with_idle_maps(2);
        let link = Link::new();
        let display = Arc::new(FakeDisplay::default());
        let device = Arc::new(Gpu::new(
            config,
            exchange.clone(),
            link.memory(),
            link.mapper(),
            Arc::clone(&display) as _,
        ));
        Ok(Self {
            backend: Backend::new(Arc::clone(&device) as _, link),
            device,
            display,
            exchange,
            tenant,
            guest: None,
        })
    }

    /// A new guest connects, which accepts `features`. `fancy` guests use
    /// indirect descriptors and event indices.
    pub(crate) fn connect(&mut self, features: Features, fancy: bool) -> Result<()> {
        self.leave()?;
        let config = Config {
            memory: RAM,
            indirect: fancy,
            event_idx: fancy,
            features: features.bits(),
            patience: PATIENCE,
            ..Config::default()
        };
        let (stream, connection) = self.backend.connect()?;
        let guest = Arc::new(EmbeddedGuest::attach(stream, config)?);
        let data = guest.allocate(DATA_PAGES * PAGE)?;
        ensure!(data.address() == DATA, "at {:#x}", data.address());
        self.guest = Some(Guest {
            driver: guest::gpu::Gpu::open(guest),
            data,
            connection,
        });
        Ok(())
    }

    /// The guest, if there is one, leaves, and the device has noticed.
    pub(crate) fn leave(&mut self) -> Result<()> {
        let Some(guest) = self.guest.take() else {
            return Ok(());
        };
        let Guest {
            driver,
            data,
            connection,
        } = guest;
        drop(data);
        // Hangs up.
        drop(driver);
        Ok(connection.wait()?)
    }

    pub(crate) fn guest(&self) -> &Guest {
        self.guest.as_ref().expect("a guest is connected")
    }

    pub(crate) fn embedded(&self) -> &EmbeddedGuest {
        self.guest().driver.guest()
    }

    /// Sends a chain and returns how many bytes the device says it wrote.
    pub(crate) fn push(&self, queue: usize, chain: &[Descriptor]) -> Result<u32> {
        let answer = self.embedded().raw(queue)?.push(chain)?.wait(PATIENCE);
        Ok(answer?.written)
    }

    /// Sends bytes and returns the answer. The room for it is filled with
    /// [`PATTERN`] before, and must still be where the device wrote nothing.
    pub(crate) fn talk(&self, queue: usize, request: &[u8], room: usize) -> Result<Vec<u8>> {
        let sent = self.embedded().allocate(request.len() as u64)?;
        sent.write(0, request)?;
        let got = self.embedded().allocate(room as u64)?;
        let space = room.max(1).next_multiple_of(PAGE as usize);
        got.view().fill(0, space, PATTERN)?;
        let mut chain = vec![Descriptor::readable(sent.address(), request.len() as u32)];
        if room > 0 {
            chain[0] = chain[0].then(1);
            chain.push(Descriptor::writable(got.address(), room as u32));
        }
        let written = self.push(queue, &chain)? as usize;
        ensure!(written <= room, "{written} bytes into room for {room}");
        let mut bytes = got.read(0, space)?;
        let rest = bytes.split_off(written);
        let untouched = rest.iter().all(|byte| *byte == PATTERN);
        ensure!(untouched, "more changed than the {written} bytes written");
        Ok(bytes)
    }

    /// Sends a request of the table, and judges the answer.
    pub(crate) fn request(&self, request: &Request) -> Result<()> {
        request.check(&self.talk(request.queue, &request.bytes, request.room)?)
    }

    /// Puts bytes where the table wants them.
    pub(crate) fn put(&self, memory: &[(u64, Vec<u8>)]) -> Result<()> {
        for (at, bytes) in memory {
            self.guest().data.write(at - DATA, bytes)?;
        }
        Ok(())
    }

    /// Bytes at a guest-physical address of the table.
    pub(crate) fn read(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        Ok(self.guest().data.read(at - DATA, len)?)
    }

    /// Sends a command; its answer, judged.
    pub(crate) fn ask_with(&self, header: ControlHeader, command: &Command<'_>) -> Result<Seen> {
        let queue = match command.kind().is_cursor() {
            true => CURSOR_QUEUE,
            false => CONTROL_QUEUE,
        };
        judge(&self.talk(queue, &command.encode(&header), 2048)?)
    }

    /// Sends a command without fence or context; its answer, judged.
    pub(crate) fn ask(&self, command: &Command<'_>) -> Result<Seen> {
        self.ask_with(ControlHeader::default(), command)
    }

    /// Sends a command that must be carried out.
    pub(crate) fn ok(&self, command: &Command<'_>) -> Result<Response> {
        let answer = self.talk(
            CONTROL_QUEUE,
            &command.encode(&ControlHeader::default()),
            2048,
        )?;
        match Response::parse(&answer)?.1 {
            Response::Error(code) => anyhow::bail!("{command:?} was refused: {code}"),
            response => Ok(response),
        }
    }

    /// The device and the VMM agree on what is mapped.
    pub(crate) fn check_window(&self) -> Result<()> {
        let window = self.embedded().window().context("a window")?;
        let status = self.device.status();
        let (vmm, device) = (window.maps().len(), status.maps + status.idle_maps);
        ensure!(vmm == device, "VMM has {vmm} maps, the device {device}");
        Ok(())
    }

    /// Nothing is left of what a guest had. Where it has just died, the last
    /// request of it may still be on its way out.
    pub(crate) fn check_empty(&self) -> Result<()> {
        settle(|| {
            let status = self.device.status();
            let buffers = self.exchange.buffers().len();
            ensure!(buffers == 0, "{buffers} buffers are left");
            let uuids = self.exchange.registry().len();
            ensure!(uuids == 0, "{uuids} UUIDs are left");
            for resource in [
                Resource::PinnedBytes,
                Resource::Buffers,
                Resource::Attachments,
                Resource::WindowMaps,
            ] {
                let used = self.tenant.used(resource);
                ensure!(used == 0, "{used} {resource} are still charged");
            }
            let (resources, contexts) = (status.resources.len(), status.contexts.len());
            ensure!(resources + contexts == 0, "{resources} and {contexts} left");
            let (maps, waiting, fences) = (status.maps, status.waiting, status.fences);
            ensure!(maps == 0, "{maps} window maps are left");
            ensure!(waiting == 0, "{waiting} commands still wait");
            ensure!(fences == 0, "{fences} fences are open");
            let shown = status.scanouts.iter().any(|it| it.shows.is_some());
            ensure!(!shown, "a scanout still shows something");
            if let Some(guest) = &self.guest {
                let maps = guest.driver.guest().window().context("a window")?.maps();
                ensure!(maps.is_empty(), "the VMM still maps {maps:?}");
            }
            Ok(())
        })
    }
}

/// Waits until something is so that takes a moment to become so.
pub(crate) fn settle<T>(check: impl Fn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
}
