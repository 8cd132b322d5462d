//! What the fleet holds, as the status tells it.

use std::sync::atomic::Ordering;

use landbridge_device_gpu::status as gpu;
use landbridge_device_gpu::{GpuStatus, Mode};
use landbridge_exchange::buffer::ImporterStatus as Importer;
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::{Buffer, MoveStats, Tenant, Usage};

use super::aliases::Seen;
use super::dmem;
use super::fleet::{Berth, Fleet};
use super::shares;
use crate::control::status::{
    BufferStatus, ChargeStatus, ContextStatus, Counters, DeviceStatus, GuestStatus, ImporterStatus,
    MovesStatus, ResourceStatus, ScanoutStatus, ShownStatus, Status,
};

/// With a look at who maps our buffers otherwise than guests do.
pub(super) fn with_aliases(fleet: &Fleet) -> Status {
    let buffers = fleet.exchange.buffers();
    let seen = Seen::now(fleet, &buffers);
    status(fleet, &buffers, &seen)
}

pub(super) fn of(fleet: &Fleet) -> Status {
    status(fleet, &fleet.exchange.buffers(), &Seen::default())
}

fn status(fleet: &Fleet, buffers: &[Buffer], seen: &Seen) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: fleet.started.elapsed().as_secs(),
        copied_bytes: fleet.exchange.copied_bytes(),
        devices: fleet.berths.iter().map(device).collect(),
        guests: fleet
            .guests
            .iter()
            .map(|(name, tenant)| guest(fleet, name, tenant))
            .collect(),
        buffers: buffers.iter().map(|it| buffer(it, seen)).collect(),
        moves: moves(fleet.exchange.moves()),
        device_memory: dmem::read(),
        shares: fleet.stations().flat_map(|it| shares::of(it)).collect(),
        caching_from: fleet.caching.from().to_string(),
        unknown_caching: fleet.caching.unknown().map(|it| it.to_string()),
    }
}

fn moves(stats: MoveStats) -> MovesStatus {
    MovesStatus {
        moves: stats.moves,
        bytes: stats.bytes,
        failed: stats.failed,
        refused: stats.refused,
    }
}

fn device(berth: &Berth) -> DeviceStatus {
    let station = &berth.station;
    let visits = station.visited();
    let status = station.gpu.status();
    let (mode, window_bytes) = match station.settings.mode {
        Mode::HostVisible { window } => ("host-visible", Some(window)),
        Mode::GuestImport => ("guest-import", None),
    };
    DeviceStatus {
        device: station.number,
        kind: "gpu".to_owned(),
        guest: station.tenant.name().to_owned(),
        socket: station.socket.path().map(Into::into),
        mode: mode.to_owned(),
        window_bytes,
        connected: visits.is_connected(),
        connections: visits.count,
        last_error: visits.last_error,
        counters: counters(berth, &status),
        resources: status.resources.into_iter().map(resource).collect(),
        scanouts: status.scanouts.into_iter().map(scanout).collect(),
        contexts: status.contexts.iter().map(context).collect(),
        maps: status.maps,
        idle_maps: status.idle_maps,
        waiting: status.waiting,
        fences_outstanding: status.fences,
    }
}

fn counters(berth: &Berth, status: &GpuStatus) -> Counters {
    let metrics = status.metrics;
    Counters {
        commands: metrics.commands,
        refused: metrics.refused,
        flushes: metrics.flushes,
        transferred_bytes: metrics.transferred_bytes,
        deferred: metrics.deferred,
        stuck: metrics.stuck,
        resets: metrics.resets,
        screenshots: berth.screenshots.load(Ordering::Relaxed),
        screenshot_bytes: berth.screenshot_bytes.load(Ordering::Relaxed),
    }
}

fn resource(resource: gpu::ResourceStatus) -> ResourceStatus {
    ResourceStatus {
        id: resource.id,
        kind: resource.kind.to_owned(),
        size: resource.size,
        buffer: resource.buffer.map(number),
        uuid: resource.uuid.map(|uuid| uuid.to_string()),
        backing_ranges: resource.backing_ranges,
        mapped_at: resource.mapped_at,
    }
}

fn scanout(scanout: gpu::ScanoutStatus) -> ScanoutStatus {
    ScanoutStatus {
        output: scanout.id,
        shows: scanout.shows.map(|(resource, layout, _)| ShownStatus {
            resource,
            width: layout.width(),
            height: layout.height(),
            stride: layout.stride(),
            offset: layout.offset(),
            format: format!("{:?}", layout.format()),
        }),
        cursor: scanout.cursor,
    }
}

fn context(context: &gpu::ContextStatus) -> ContextStatus {
    let name = context.name.as_bytes();
    let end = name.iter().position(|byte| *byte == 0);
    ContextStatus {
        id: context.id,
        // A guest chose it, and it will be shown on somebody's terminal.
        name: name[..end.unwrap_or(name.len())].escape_ascii().to_string(),
        resources: context.resources,
    }
}

fn guest(fleet: &Fleet, name: &str, tenant: &Tenant) -> GuestStatus {
    GuestStatus {
        guest: name.to_owned(),
        devices: fleet
            .stations()
            .filter(|station| station.tenant.name() == name)
            .map(|station| station.number)
            .collect(),
        charges: Resource::ALL
            .into_iter()
            .map(|resource| ChargeStatus {
                of: resource.to_string(),
                used: tenant.used(resource),
                limit: tenant.limits().of(resource),
            })
            .collect(),
    }
}

fn buffer(buffer: &Buffer, seen: &Seen) -> BufferStatus {
    let offer = buffer.offer();
    BufferStatus {
        buffer: number(buffer.id()),
        size: buffer.size(),
        exporter: buffer.backing(),
        origin: buffer.origin().map(str::to_owned),
        note: buffer.note().map(str::to_owned),
        uuid: buffer.uuid().map(|uuid| uuid.to_string()),
        model: offer.model.to_string(),
        life: buffer.life().to_string(),
        caching: offer.caching.map(|known| known.caching.to_string()),
        caching_source: offer.caching.map(|known| known.source.to_string()),
        differing_aliases: seen.differing(buffer),
        guest: buffer.tenant().map(|tenant| tenant.name().to_owned()),
        copied_bytes: buffer.copied_bytes(),
        fences_outstanding: buffer.reservation().pending(Usage::Bookkeep).len(),
        importers: buffer.importers().iter().map(importer).collect(),
    }
}

fn importer(importer: &Importer) -> ImporterStatus {
    let terms = &importer.terms;
    ImporterStatus {
        name: importer.name.clone(),
        method: terms.method().to_string(),
        direction: terms.direction().to_string(),
        model: terms.model().to_string(),
        caching: terms.caching().map(|known| known.caching.to_string()),
    }
}

pub(super) fn number(id: landbridge_exchange::BufferId) -> u64 {
    id.get()
}
