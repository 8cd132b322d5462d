//! What to serve: the command line laid over the configuration file, checked
//! before anything runs.

mod caching;
mod file;
mod size;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use landbridge_device_gpu::{GpuConfig, Mode};
use landbridge_exchange::exporters::host_memory::{HostMemory as Memory, Kind, Placement};
use landbridge_exchange::importers::window::PAGE;
use landbridge_exchange::terms::MemoryModel;
use landbridge_exchange::{Limits, Tenant};
use serde::Deserialize;

pub use caching::{CachingFrom, CachingName};
pub use size::{MetricsAddress, OutputSize, Size};

use super::Options;
use file::{FileKeys, GpuKeys, LimitKeys};

/// The window where nobody asked for another: with 4 GiB of guest memory,
/// firmware puts a window of this size above 4 GiB, where it can be cached.
pub const DEFAULT_WINDOW: Size = Size(256 << 20);

/// The largest window: more than any guest's physical address space has room
/// for beside its memory.
const MAX_WINDOW: Size = Size(1 << 40);

/// The smallest window that is of any use.
const MIN_WINDOW: Size = Size(1 << 20);

/// Few: each takes one of the eight regions of memory that a VM has.
const IDLE_MAPS: usize = 2;

/// What the guest can do with host memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuMode {
    /// The guest makes host blobs and maps them through a window (VIRGL).
    #[default]
    HostVisible,
    /// The guest imports buffers of its other devices (no VIRGL, no window).
    GuestImport,
}

/// What host memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostMemory {
    /// Sealed memfds: on every machine, but no dma-bufs.
    #[default]
    Memfd,
    /// Dma-bufs over memfds; needs /dev/udmabuf.
    Udmabuf,
    /// Dma-bufs of the system heap; needs /dev/dma_heap/system.
    SystemHeap,
}

impl HostMemory {
    /// The exchange's name for it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Memfd => Kind::Memfd,
            Self::Udmabuf => Kind::Udmabuf,
            Self::SystemHeap => Kind::SystemHeap,
        }
    }

    /// The device node that it needs.
    fn device(self) -> Option<&'static str> {
        match self {
            Self::Memfd => None,
            Self::Udmabuf => Some("/dev/udmabuf"),
            Self::SystemHeap => Some("/dev/dma_heap/system"),
        }
    }
}

/// One GPU to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuSettings {
    /// Where it listens; `None` for a listener that was handed over.
    pub socket: Option<PathBuf>,
    /// Whose it is: GPUs of the same guest share its limits.
    pub guest: Option<String>,
    /// Its outputs.
    pub outputs: Vec<OutputSize>,
    /// With or without a window.
    pub mode: Mode,
    /// What host memory is made of.
    pub host_memory: HostMemory,
    /// The NUMA node that host memory comes from; any, if none is named.
    pub host_node: Option<u32>,
    /// How many maps stay in the window for the guest's next blobs.
    pub idle_maps: usize,
}

impl GpuSettings {
    /// The device's configuration, on the account of `tenant`.
    pub fn config(&self, tenant: Tenant) -> anyhow::Result<GpuConfig> {
        let outputs = self.outputs.iter().map(|output| output.0).collect();
        let config = GpuConfig::new(outputs, self.mode, tenant)?;
        // An operator can take it away, and give it back.
        let model = MemoryModel::Revocable { restorable: true };
        let config = config.with_host_memory(self.placement());
        Ok(config.with_host_model(model).with_idle_maps(self.idle_maps))
    }

    /// What host memory is to be.
    fn placement(&self) -> Placement {
        Placement {
            kind: self.host_memory.kind(),
            node: self.host_node,
        }
    }

    fn new(own: GpuKeys, shared: &GpuKeys) -> anyhow::Result<Self> {
        let settings = Self {
            socket: own.socket,
            guest: own.guest,
            outputs: own
                .outputs
                .or_else(|| shared.outputs.clone())
                .unwrap_or(vec!["1920x1080".parse().map_err(anyhow::Error::msg)?]),
            mode: match own.gpu_mode.or(shared.gpu_mode).unwrap_or_default() {
                GpuMode::GuestImport => Mode::GuestImport,
                GpuMode::HostVisible => Mode::HostVisible {
                    window: check_window(own.window.or(shared.window))?,
                },
            },
            host_memory: own.host_memory.or(shared.host_memory).unwrap_or_default(),
            host_node: own.host_node.or(shared.host_node),
            idle_maps: own.idle_maps.or(shared.idle_maps).unwrap_or(IDLE_MAPS),
        };
        if let Some(device) = settings.host_memory.device() {
            ensure!(Path::new(device).exists(), "this machine has no {device}");
        }
        if let Some(node) = settings.host_node {
            let some = Memory::allocate("check", PAGE, settings.placement());
            some.with_context(|| format!("host-node = {node}"))?;
        }
        // What the device itself refuses is found before a socket is made.
        settings.config(Tenant::new("check", Limits::default()))?;
        Ok(settings)
    }
}

fn check_window(asked: Option<Size>) -> anyhow::Result<u64> {
    let window = asked.unwrap_or(DEFAULT_WINDOW);
    ensure!(
        window.0.is_power_of_two(),
        "a window of {window}: a VMM aborts unless it is a power of two"
    );
    ensure!(
        (MIN_WINDOW..=MAX_WINDOW).contains(&window),
        "a window of {window}: it must be {MIN_WINDOW} to {MAX_WINDOW}"
    );
    Ok(window.0)
}

/// What to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The GPUs.
    pub gpus: Vec<GpuSettings>,
    /// What a GPU is like whose listener was handed over.
    pub handed_over: GpuSettings,
    /// Where the control socket listens.
    pub control: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics: Option<MetricsAddress>,
    /// The most that each guest may hold.
    pub limits: Limits,
    /// Who is asked how buffers are cached.
    pub caching_from: CachingFrom,
    /// How buffers are cached of which nobody knows it; without this, they are
    /// refused.
    pub unknown_caching: Option<CachingName>,
}

impl Settings {
    /// Reads the file that the options name and lays the options over it.
    pub fn of(options: &Options) -> anyhow::Result<Self> {
        let file = match &options.config {
            Some(path) => FileKeys::read(path)?,
            None => FileKeys::default(),
        };
        Self::merge(file, options)
    }

    fn merge(file: FileKeys, options: &Options) -> anyhow::Result<Self> {
        let shared = GpuKeys {
            outputs: options.outputs.clone().or(file.outputs),
            gpu_mode: options.gpu_mode.or(file.gpu_mode),
            window: options.window.or(file.window),
            host_memory: options.host_memory.or(file.host_memory),
            host_node: options.host_node.or(file.host_node),
            idle_maps: file.idle_maps,
            ..GpuKeys::default()
        };
        let gpus: Vec<GpuKeys> = if options.gpu.is_empty() {
            let entries = file.gpu.unwrap_or_default();
            entries.into_iter().map(|entry| entry.0).collect()
        } else {
            let of = |socket: &PathBuf| GpuKeys {
                socket: Some(socket.clone()),
                ..GpuKeys::default()
            };
            options.gpu.iter().map(of).collect()
        };
        let gpus = gpus
            .into_iter()
            .enumerate()
            .map(|(number, keys)| {
                {
                    ensure!(keys.socket.is_some(), "a GPU needs a socket");
                    GpuSettings::new(keys, &shared)
                }
                .with_context(|| format!("GPU {number}"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let settings = Self {
            gpus,
            handed_over: GpuSettings::new(GpuKeys::default(), &shared)?,
            control: options.control.clone().or(file.control),
            metrics: options.metrics.or(file.metrics),
            limits: limits(&file.limits)?,
            caching_from: options
                .caching_from
                .clone()
                .or(file.caching_from)
                .unwrap_or_default(),
            unknown_caching: options.unknown_caching.or(file.unknown_caching),
        };
        settings.check_paths()?;
        Ok(settings)
    }

    fn check_paths(&self) -> anyhow::Result<()> {
        let gpus = self.gpus.iter().filter_map(|gpu| gpu.socket.as_ref());
        let mut paths: Vec<&PathBuf> = gpus.chain(&self.control).collect();
        paths.sort_unstable();
        for pair in paths.windows(2) {
            if pair[0] == pair[1] {
                bail!("{} is named twice", pair[0].display());
            }
        }
        Ok(())
    }
}

fn limits(keys: &LimitKeys) -> anyhow::Result<Limits> {
    let default = Limits::default();
    // Without a limit of its own, all memory of a guest may be pinned memory.
    let pinned = keys.pinned_memory.or(keys.memory);
    let memory = keys.memory.or(keys.pinned_memory);
    let limits = Limits {
        pinned_bytes: pinned.map_or(default.pinned_bytes, |size| size.0),
        bytes: memory.map_or(default.bytes, |size| size.0),
        mappings: keys.mappings.unwrap_or(default.mappings),
        buffers: keys.buffers.unwrap_or(default.buffers),
        attachments: keys.attachments.unwrap_or(default.attachments),
        window_maps: keys.window_maps.unwrap_or(default.window_maps),
    };
    ensure!(
        limits.window_maps <= default.window_maps,
        "limits.window-maps of {}: QEMU does not survive more than 511, so at most {} are allowed",
        limits.window_maps,
        default.window_maps
    );
    Ok(limits)
}

#[cfg(test)]
mod tests;
