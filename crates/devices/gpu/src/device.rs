//! The device: requests in, replies out.

use std::fmt;
use std::sync::Arc;

use landbridge_device::{Device, Request, SharedMemory};
use landbridge_exchange::Exchange;
use landbridge_exchange::exporters::guest_pages::GuestMemory;
use landbridge_exchange::importers::window::{Window, WindowMapper};
use landbridge_protocol_gpu::{
    Config, DEVICE_ID, Features, NUM_QUEUES, Request as Command, SHM_ID_HOST_VISIBLE,
};

use crate::answer::Answer;
use crate::commands::{self, CAPSETS, Outcome};
use crate::config::{GpuConfig, Mode};
use crate::core::Core;
use crate::display::Display;
use crate::host_objects::HostObjects;
use crate::image::Image;
use crate::jobs::Jobs;
use crate::status::GpuStatus;

/// A virtio-gpu device.
pub struct Gpu {
    core: Arc<Core>,
}

impl Gpu {
    /// A device whose buffers live in `exchange`, whose guest has `memory`,
    /// whose window `mapper` maps and whose pictures `display` shows.
    pub fn new(
        config: GpuConfig,
        exchange: Exchange,
        memory: Arc<dyn GuestMemory>,
        mapper: Arc<dyn WindowMapper>,
        display: Arc<dyn Display>,
    ) -> Self {
        let window = match config.mode {
            Mode::HostVisible { window } => Some(Window::new(mapper, window)),
            Mode::GuestImport => None,
        };
        Self {
            core: Arc::new(Core::new(config, exchange, memory, window, display)),
        }
    }

    /// What scanout number `scanout` shows, for a screenshot. Whoever keeps it
    /// keeps the guest's buffer.
    pub fn scanout(&self, scanout: u32) -> Option<Image> {
        let mut state = self.core.any_state();
        let shown = state.scanouts.get_mut(scanout).ok()?.shown.as_ref()?;
        Some(shown.image.clone())
    }

    /// What the host offers the guest by number.
    pub fn host_objects(&self) -> &HostObjects {
        &self.core.host_objects
    }

    /// What the device holds.
    pub fn status(&self) -> GpuStatus {
        self.core.status()
    }

    fn offered(&self) -> Features {
        let always = Features::EDID | Features::RESOURCE_UUID | Features::RESOURCE_BLOB;
        match self.core.config.mode {
            // CONTEXT_INIT requires VIRGL.
            Mode::HostVisible { .. } => always | Features::VIRGL | Features::CONTEXT_INIT,
            Mode::GuestImport => always,
        }
    }
}

impl Device for Gpu {
    fn id(&self) -> u32 {
        DEVICE_ID
    }

    fn queues(&self) -> usize {
        NUM_QUEUES
    }

    fn features(&self) -> u64 {
        self.offered().bits()
    }

    fn activate(&self, features: u64) {
        let mut features = Features::from_bits_truncate(features) & self.offered();
        if !features.contains(Features::VIRGL) {
            features.remove(Features::CONTEXT_INIT);
        }
        self.core.set_features(features);
    }

    fn config(&self) -> Vec<u8> {
        let config = Config {
            num_scanouts: self.core.config.outputs.len() as u32,
            num_capsets: CAPSETS,
            ..Config::default()
        };
        config.encode().to_vec()
    }

    fn write_config(&self, offset: u32, data: &[u8]) {
        // The one writable field clears events, and outputs never change, so
        // there is never an event to clear.
        tracing::trace!(offset, len = data.len(), "configuration space written");
    }

    fn shared_memory(&self) -> Option<SharedMemory> {
        let window = self.core.window.as_ref()?;
        Some(SharedMemory {
            id: SHM_ID_HOST_VISIBLE,
            size: window.size(),
        })
    }

    fn handle(&self, queue: usize, request: Request) {
        let core = &self.core;
        let life = core.life();
        let Request { bytes, reply } = request;
        let (header, parsed) = match Command::parse(&bytes) {
            Ok(command) => (command.header, Ok(command)),
            Err(bad) => (bad.header, Err(bad.error.into())),
        };
        let answer = Answer::new(core, life, header, reply);
        match parsed.and_then(|command| commands::run(core, life, queue, command)) {
            Ok(Outcome::Now(response)) => answer.finish(Ok(response)),
            Ok(Outcome::Later(task)) => Jobs::submit(core, task, answer),
            Err(error) => answer.finish(Err(error)),
        }
    }

    fn reset(&self) {
        let core = &self.core;
        core.metrics.resets.add(1);
        let old = core.begin_life();
        if let Some(window) = &core.window {
            // The VMM drops the mappings of a device that is reset.
            window.reset();
        }
        core.timelines.reset();
        core.jobs.reset();
        let shown: Vec<u32> = old
            .scanouts
            .iter()
            .filter(|(_, scanout)| scanout.shown.is_some())
            .map(|(id, _)| id)
            .collect();
        drop(old);
        for scanout in shown {
            core.display.disabled(scanout);
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.core.jobs.stop();
        self.core.jobs.reset();
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu")
            .field("config", &self.core.config)
            .finish_non_exhaustive()
    }
}
