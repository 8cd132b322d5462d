//! What kind of GPU it is: outputs, mode, who pays, and the bounds of what a
//! guest may ask for.

use std::sync::Arc;
use std::time::Duration;

use landbridge_exchange::exporters::Joiner;
use landbridge_exchange::exporters::host_memory::{Kind, Placement};
use landbridge_exchange::importers::scanout::Failing;
use landbridge_exchange::importers::window::PAGE;
use landbridge_exchange::terms::MemoryModel;
use landbridge_exchange::{KnownCaching, Tenant};
use landbridge_protocol_gpu::MAX_SCANOUTS;

/// A configuration that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An output is larger than an EDID can say, or empty.
    #[error(
        "an output of {width}x{height} pixels: each side must be 1 to {}",
        Output::MAX_SIDE
    )]
    OutputSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Too few outputs, or too many.
    #[error("{0} outputs: a GPU has 1 to {MAX_SCANOUTS}")]
    OutputCount(usize),
    /// A VMM would abort.
    #[error("a window of {0:#x} bytes: the size must be a power of two of at least {PAGE:#x}")]
    WindowSize(u64),
}

/// One output: the display that the guest believes is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    width: u32,
    height: u32,
    enabled: bool,
}

impl Output {
    /// The longest side in pixels: an EDID has 12 bits for it.
    pub const MAX_SIDE: u32 = 4095;

    /// A connected display of this preferred size in pixels.
    pub fn new(width: u32, height: u32) -> Result<Self, ConfigError> {
        let sides = 1..=Self::MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(ConfigError::OutputSize { width, height });
        }
        Ok(Self {
            width,
            height,
            enabled: true,
        })
    }

    /// The same display, connected or not.
    #[must_use]
    pub fn connected(mut self, connected: bool) -> Self {
        self.enabled = connected;
        self
    }

    /// Preferred width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Preferred height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether a display is connected.
    pub fn is_connected(&self) -> bool {
        self.enabled
    }
}

/// What the guest can do with host memory. A stock Linux guest does one or the
/// other, and decides by the feature VIRGL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The device offers VIRGL and a host-visible window: the guest makes host
    /// blobs and maps them.
    HostVisible {
        /// The window's size in bytes, a power of two.
        window: u64,
    },
    /// The device offers neither: the guest makes guest blobs, and imports
    /// buffers of its other devices as such.
    GuestImport,
}

/// The most that a guest may ask for, beyond what its tenant's limits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Resources, those without memory of their own among them: a tenant's
    /// limits count buffers, and a guest blob has none until it is backed.
    pub resources: usize,
    /// Contexts.
    pub contexts: usize,
    /// Resources attached to contexts, all contexts together.
    pub context_resources: usize,
    /// Guest-physical ranges, once merged, of one backing list.
    pub ranges: usize,
    /// Guest-physical ranges of all backing lists together. Each can cost the
    /// process one memory mapping, of which Linux allows 65,530.
    pub all_ranges: usize,
    /// Commands that wait for other users of a buffer.
    pub waiting: usize,
    /// How long a command waits for them before it fails.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            resources: 1 << 16,
            contexts: 1024,
            context_resources: 1 << 16,
            ranges: 1 << 14,
            all_ranges: 1 << 15,
            waiting: 1024,
            patience: Duration::from_secs(5),
        }
    }
}

/// A GPU's configuration.
#[derive(Debug, Clone)]
pub struct GpuConfig {
    pub(crate) outputs: Vec<Output>,
    pub(crate) mode: Mode,
    pub(crate) tenant: Tenant,
    pub(crate) host_memory: Placement,
    pub(crate) host_caching: KnownCaching,
    pub(crate) joiner: Option<Arc<dyn Joiner>>,
    pub(crate) host_model: MemoryModel,
    pub(crate) scanouts: Failing,
    pub(crate) bounds: Bounds,
    pub(crate) idle_maps: usize,
}

impl GpuConfig {
    /// A GPU with these outputs whose resources `tenant` pays for. Host memory
    /// is memfds.
    pub fn new(outputs: Vec<Output>, mode: Mode, tenant: Tenant) -> Result<Self, ConfigError> {
        if outputs.is_empty() || outputs.len() > MAX_SCANOUTS {
            return Err(ConfigError::OutputCount(outputs.len()));
        }
        if let Mode::HostVisible { window } = mode
            && (!window.is_power_of_two() || window < PAGE)
        {
            return Err(ConfigError::WindowSize(window));
        }
        Ok(Self {
            outputs,
            mode,
            tenant,
            host_memory: Kind::Memfd.into(),
            host_caching: Kind::Memfd.caching(),
            joiner: None,
            host_model: MemoryModel::Pinned,
            scanouts: Failing::Allowed,
            bounds: Bounds::default(),
            idle_maps: 0,
        })
    }

    /// The same GPU with another kind of host memory, of one NUMA node if it names
    /// one, cached as a rule says.
    #[must_use]
    pub fn with_host_memory(mut self, placement: impl Into<Placement>) -> Self {
        self.host_memory = placement.into();
        self.host_caching = self.host_memory.kind.caching();
        self
    }

    /// The same GPU, for somebody who looked at how memory of this kind is
    /// cached.
    #[must_use]
    pub fn with_host_caching(mut self, caching: KnownCaching) -> Self {
        self.host_caching = caching;
        self
    }

    /// The same GPU whose guest blobs are dma-bufs as far as `joiner` can make
    /// them.
    #[must_use]
    pub fn with_joiner(mut self, joiner: Arc<dyn Joiner>) -> Self {
        self.joiner = Some(joiner);
        self
    }

    /// The same GPU with host memory that may be taken away or moved.
    #[must_use]
    pub fn with_host_model(mut self, model: MemoryModel) -> Self {
        self.host_model = model;
        self
    }

    /// The same GPU with scanouts that must not fail, and so refuse memory that
    /// may be taken away; or with such as may, which show nothing then.
    #[must_use]
    pub fn with_scanouts(mut self, failing: Failing) -> Self {
        self.scanouts = failing;
        self
    }

    /// The same GPU, which keeps so many blobs in the window that the guest has
    /// unmapped, for the guest's next ones: at most 32 MiB, of memfds that stay
    /// where they are, and of blobs that other devices can't ask for.
    #[must_use]
    pub fn with_idle_maps(mut self, count: usize) -> Self {
        self.idle_maps = count;
        self
    }

    /// The same GPU with other bounds.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }
}

#[cfg(test)]
mod tests {
    use landbridge_exchange::Limits;

    use super::*;

    fn config(outputs: usize, mode: Mode) -> Result<GpuConfig, ConfigError> {
        let output = Output::new(640, 480).unwrap();
        GpuConfig::new(
            vec![output; outputs],
            mode,
            Tenant::new("guest", Limits::default()),
        )
    }

    #[test]
    fn outputs_are_bounded_in_size_and_number() {
        for (width, height) in [(0, 1), (1, 0), (4096, 1), (1, u32::MAX)] {
            assert!(Output::new(width, height).is_err());
        }
        assert!(Output::new(4095, 4095).is_ok());
        for count in [0, 17] {
            let error = config(count, Mode::GuestImport).unwrap_err();
            assert_eq!(error, ConfigError::OutputCount(count));
        }
        assert!(config(16, Mode::GuestImport).is_ok());
    }

    #[test]
    fn a_window_that_would_abort_a_vmm_is_refused() {
        for window in [0, 1, 2048, 4097, 3 << 20] {
            let error = config(1, Mode::HostVisible { window }).unwrap_err();
            assert_eq!(error, ConfigError::WindowSize(window));
        }
        assert!(config(1, Mode::HostVisible { window: 1 << 28 }).is_ok());
    }
}
