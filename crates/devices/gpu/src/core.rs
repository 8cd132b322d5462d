//! What all parts of the device share.
//!
//! The state has one lock. It is never held while a VMM maps or unmaps, while
//! a display is told something, while somebody waits for a fence, or while
//! memory is allocated or let go; what a command removes it takes out of the
//! lock before dropping it.
//!
//! A reset waits for nobody. It begins a new *life*: commands of earlier lives
//! that are still running find the state closed to them, and their answers go
//! nowhere.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landbridge_exchange::exporters::HostMemory;
use landbridge_exchange::exporters::guest_pages::GuestMemory;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::importers::window::Window;
use landbridge_exchange::terms::MemoryModel;
use landbridge_exchange::{Buffer, Exchange, Tenant};
use landbridge_protocol_gpu::{BlobFlags, ControlHeader, Features};

use crate::config::GpuConfig;
use crate::contexts::Contexts;
use crate::display::Display;
use crate::error::Error;
use crate::fences::{Timeline, Timelines};
use crate::host_objects::HostObjects;
use crate::idle::Idle;
use crate::jobs::Jobs;
use crate::metrics::Metrics;
use crate::resources::Resources;
use crate::scanouts::Scanouts;

/// What the guest has made.
pub(crate) struct State {
    life: u64,
    pub(crate) resources: Resources,
    pub(crate) scanouts: Scanouts,
    pub(crate) contexts: Contexts,
    pub(crate) idle: Idle,
}

/// What all parts of the device share.
pub(crate) struct Core {
    pub(crate) config: GpuConfig,
    pub(crate) exchange: Exchange,
    pub(crate) memory: Arc<dyn GuestMemory>,
    pub(crate) display: Arc<dyn Display>,
    pub(crate) window: Option<Arc<Window>>,
    /// What the host offers; the guest makes blobs of it.
    pub(crate) host_objects: HostObjects,
    pub(crate) timelines: Timelines,
    pub(crate) jobs: Jobs,
    pub(crate) metrics: Metrics,
    /// Guest-physical ranges of all backing lists.
    pub(crate) ranges: Arc<AtomicUsize>,
    features: AtomicU64,
    state: Mutex<State>,
    /// The state's life, for those who need not lock it.
    life: AtomicU64,
}

impl Core {
    pub(crate) fn new(
        config: GpuConfig,
        exchange: Exchange,
        memory: Arc<dyn GuestMemory>,
        window: Option<Arc<Window>>,
        display: Arc<dyn Display>,
    ) -> Self {
        let state = State {
            life: 0,
            resources: Resources::default(),
            scanouts: Scanouts::new(config.outputs.len()),
            contexts: Contexts::default(),
            idle: Idle::default(),
        };
        Self {
            config,
            exchange,
            memory,
            display,
            window,
            host_objects: HostObjects::default(),
            timelines: Timelines::default(),
            jobs: Jobs::default(),
            metrics: Metrics::default(),
            ranges: Arc::default(),
            features: AtomicU64::new(0),
            state: Mutex::new(state),
            life: AtomicU64::new(0),
        }
    }

    /// Who pays for what the guest makes.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.config.tenant
    }

    /// Host memory for a resource: paid for before it is allocated.
    pub(crate) fn allocate(&self, name: &str, size: u64) -> Result<Buffer, Error> {
        let (placement, caching) = (self.config.host_memory, self.config.host_caching);
        let model = self.config.host_model;
        let make = || {
            let memory = HostMemory::allocate(name, size, placement)?;
            Ok(memory.with_caching(caching).of_model(model))
        };
        let tenant = self.tenant();
        self.with_room(|| Ok(self.exchange.publish_with(size, model, tenant, make)?))
    }

    /// Does something on the tenant's account, and where that has no room for it,
    /// once more without idle maps.
    pub(crate) fn with_room<T>(
        &self,
        mut call: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let result = call();
        match &result {
            Err(Error::Exchange(error)) if error.lacks_room() => {}
            _ => return result,
        }
        let idle = self.any_state().idle.take_all();
        if idle.is_empty() {
            return result;
        }
        drop(idle);
        call()
    }

    /// Whether maps of a blob of our host memory may stay when it is unmapped.
    /// Another device may want a blob that it can ask for to itself: that needs
    /// everybody else to let go. What moves is to be free to, and only a memfd
    /// can be emptied.
    pub(crate) fn may_idle(&self, flags: BlobFlags) -> bool {
        let config = &self.config;
        config.idle_maps > 0
            && matches!(config.host_memory.kind, Kind::Memfd | Kind::HugePages)
            && !matches!(config.host_model, MemoryModel::Movable { .. })
            && !flags.contains(BlobFlags::CROSS_DEVICE)
    }

    /// The features that the driver accepted.
    pub(crate) fn features(&self) -> Features {
        Features::from_bits_truncate(self.features.load(Ordering::Acquire))
    }

    pub(crate) fn set_features(&self, features: Features) {
        self.features.store(features.bits(), Ordering::Release);
    }

    /// The current life.
    pub(crate) fn life(&self) -> u64 {
        self.life.load(Ordering::Acquire)
    }

    /// The state, for a command of this life.
    pub(crate) fn state(&self, life: u64) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.any_state();
        if state.life == life {
            Ok(state)
        } else {
            Err(Error::Reset)
        }
    }

    /// The state, for somebody who only looks.
    pub(crate) fn any_state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a new life and returns what was left of the old one.
    pub(crate) fn begin_life(&self) -> State {
        let mut state = self.any_state();
        let life = state.life + 1;
        let fresh = State {
            life,
            resources: Resources::default(),
            scanouts: Scanouts::new(self.config.outputs.len()),
            contexts: Contexts::default(),
            idle: Idle::default(),
        };
        let old = std::mem::replace(&mut *state, fresh);
        self.life.store(life, Ordering::Release);
        self.set_features(Features::empty());
        old
    }

    /// The timeline of a command, if it is fenced.
    pub(crate) fn timeline(&self, header: &ControlHeader) -> Option<Timeline> {
        header.fence()?;
        Some(match header.ring() {
            Some(ring) if self.features().contains(Features::CONTEXT_INIT) => Timeline::Ring {
                context: header.ctx_id,
                ring,
            },
            _ => Timeline::Device,
        })
    }
}
