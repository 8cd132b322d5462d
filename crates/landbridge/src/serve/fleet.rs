//! All devices of this process: one exchange, one registry, and an account for
//! each guest.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use landbridge_exchange::{Exchange, Limits, Subscription, Tenant};

use super::caching::Lookup;
use super::listen::Socket;
use super::settings::GpuSettings;
use super::station::Station;
use super::{lifecycle, shares, snapshot};
use crate::control::protocol::{
    BufferArguments, Code, Problem, RestoreResult, RevokeResult, ShareArguments, UnshareArguments,
    UnshareResult,
};
use crate::control::status::{ShareStatus, Status};
use crate::control::{Service, Shot, Stop};

/// How long a screenshot waits for those who write the picture.
const PATIENCE: Duration = Duration::from_secs(5);

/// All devices of this process.
pub(super) struct Fleet {
    pub(super) exchange: Exchange,
    pub(super) guests: BTreeMap<String, Tenant>,
    pub(super) berths: Vec<Berth>,
    pub(super) started: Instant,
    pub(super) caching: Lookup,
    limits: Limits,
    stop: Stop,
}

/// A device and what its pictures were asked for.
pub(super) struct Berth {
    pub(super) station: Arc<Station>,
    pub(super) screenshots: AtomicU64,
    pub(super) screenshot_bytes: AtomicU64,
}

impl Fleet {
    /// No devices yet; each guest gets `limits`.
    pub(super) fn new(limits: Limits, caching: Lookup, stop: Stop) -> Self {
        Self {
            exchange: Exchange::new(),
            guests: BTreeMap::new(),
            berths: Vec::new(),
            started: Instant::now(),
            caching,
            limits,
            stop,
        }
    }

    /// Adds a GPU on `socket`. One that names no guest is a guest's only one.
    pub(super) fn add(&mut self, settings: GpuSettings, socket: Socket) -> anyhow::Result<()> {
        let number = self.berths.len();
        let guest = settings
            .guest
            .clone()
            .unwrap_or_else(|| format!("gpu{number}"));
        let tenant = self
            .guests
            .entry(guest)
            .or_insert_with_key(|name| Tenant::new(name, self.limits))
            .clone();
        let stop = self.stop.clone();
        let config = settings.config(tenant.clone())?;
        let config = config.with_host_caching(self.caching.of_kind(settings.host_memory.kind()));
        let station = Station::new(
            number,
            settings,
            config,
            socket,
            &self.exchange,
            tenant,
            stop,
        );
        self.berths.push(Berth {
            station: Arc::new(station),
            screenshots: AtomicU64::new(0),
            screenshot_bytes: AtomicU64::new(0),
        });
        Ok(())
    }

    /// The device with this number.
    pub(super) fn berth(&self, device: usize) -> Result<&Berth, Problem> {
        self.berths.get(device).ok_or_else(|| {
            let count = self.berths.len();
            let message = format!("there is no device {device}: there are {count}");
            Problem::new(Code::NoSuchDevice, message)
        })
    }

    /// The devices.
    pub(super) fn stations(&self) -> impl Iterator<Item = &Arc<Station>> {
        self.berths.iter().map(|berth| &berth.station)
    }
}

impl Service for Fleet {
    fn status(&self) -> Status {
        snapshot::with_aliases(self)
    }

    fn holdings(&self) -> Status {
        snapshot::of(self)
    }

    fn share(&self, asked: &ShareArguments, memory: OwnedFd) -> Result<ShareStatus, Problem> {
        shares::share(self, asked, memory)
    }

    fn unshare(&self, asked: UnshareArguments) -> Result<UnshareResult, Problem> {
        shares::unshare(self, asked)
    }

    fn revoke(&self, asked: &BufferArguments) -> Result<RevokeResult, Problem> {
        lifecycle::revoke(self, asked)
    }

    fn restore(&self, asked: &BufferArguments) -> Result<RestoreResult, Problem> {
        lifecycle::restore(self, asked)
    }

    fn subscribe(&self) -> Subscription {
        self.exchange.subscribe()
    }

    fn screenshot(&self, device: usize, output: u32) -> Result<Shot, Problem> {
        let berth = self.berth(device)?;
        let station = &berth.station;
        let outputs = station.settings.outputs.len();
        if output as usize >= outputs {
            let message = format!("device {device} has no output {output}: it has {outputs}");
            return Err(Problem::new(Code::NoSuchOutput, message));
        }
        let image = station.gpu.scanout(output).ok_or_else(|| {
            let message = format!("output {output} of device {device} shows nothing");
            Problem::new(Code::NothingShown, message)
        })?;
        let failed = |error| Problem::new(Code::Failed, error);
        let access = image.read(PATIENCE).map_err(failed)?;
        let rgba = access.to_rgba().map_err(failed)?;
        access.end().map_err(failed)?;
        berth.screenshots.fetch_add(1, Ordering::Relaxed);
        let bytes = rgba.len() as u64;
        berth.screenshot_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Shot {
            width: image.layout().width(),
            height: image.layout().height(),
            rgba: opaque(rgba),
        })
    }
}

/// A screen shows what is not transparent, whatever the alpha says.
fn opaque(mut rgba: Vec<u8>) -> Vec<u8> {
    for pixel in rgba.chunks_exact_mut(4) {
        pixel[3] = u8::MAX;
    }
    rgba
}
