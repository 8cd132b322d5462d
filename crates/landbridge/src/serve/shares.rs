//! Memory that programs of this host hand over for a guest.
//!
//! It becomes a buffer like any other, on the account of the guest that it is
//! for, and a host object of the device: the guest makes a blob of it by its
//! number.

use std::os::fd::OwnedFd;

use landbridge_device_gpu::Mode;
use landbridge_dmabuf::Identity;
use landbridge_exchange::{Buffer, Error};
use uuid::Uuid;

use super::caching::Hints;
use super::fleet::Fleet;
use super::snapshot::number;
use super::station::Station;
use crate::control::protocol::{Code, Problem, ShareArguments, UnshareArguments, UnshareResult};
use crate::control::status::ShareStatus;

/// Offers memory to the guest of a device.
pub(super) fn share(
    fleet: &Fleet,
    asked: &ShareArguments,
    memory: OwnedFd,
) -> Result<ShareStatus, Problem> {
    let station = &fleet.berth(asked.device)?.station;
    if station.settings.mode == Mode::GuestImport {
        let message = format!(
            "device {} has no window to map it in: it is a guest-import one",
            asked.device
        );
        return Err(Problem::new(Code::NotShareable, message));
    }
    let uuid = asked.uuid.as_deref().map(Uuid::parse_str).transpose();
    let uuid = uuid.map_err(|error| Problem::new(Code::BadArguments, error))?;
    let buffer = buffer(fleet, station, asked, memory)?;
    let uuid = match uuid {
        Some(uuid) => buffer.register_uuid(uuid),
        None => buffer.assign_uuid(),
    };
    let taken = |error: &dyn std::error::Error| Problem::new(Code::Taken, error);
    uuid.map_err(|error| taken(&error))?;
    let objects = station.gpu.host_objects();
    let blob_id = objects
        .offer(asked.blob_id, buffer.clone())
        .map_err(|error| taken(&error))?;
    tracing::info!(device = asked.device, blob_id, buffer = %buffer.id(), "sharing");
    Ok(status(station, blob_id, &buffer))
}

/// The buffer with this memory: the one that has it already, or a new one.
fn buffer(
    fleet: &Fleet,
    station: &Station,
    asked: &ShareArguments,
    memory: OwnedFd,
) -> Result<Buffer, Problem> {
    let unfit = |error: String| Problem::new(Code::NotShareable, error);
    let identity = Identity::of(&memory).map_err(|error| unfit(error.to_string()))?;
    let said = asked.caching.map(Into::into);
    if let Some(buffer) = fleet.exchange.find(identity) {
        let known = buffer.offer().caching;
        return match (known, said) {
            (Some(known), Some(said)) if known.caching != said => {
                let message = format!("it is {known} for others, and can't be {said} for a guest");
                Err(unfit(message))
            }
            _ => Ok(buffer),
        };
    }
    let hints = Hints {
        caching: said,
        driver: asked.driver.clone(),
    };
    let memory = fleet.caching.foreign(memory, &hints);
    let memory = memory.map_err(|error| unfit(format!("{error:#}")))?;
    // An operator can take it from the guest; its owner keeps it.
    let memory = memory.revocable();
    let published = fleet.exchange.publish(memory, &station.tenant);
    published.map_err(|error| match error {
        Error::TwoCachings { .. } => unfit(error.to_string()),
        error => Problem::new(Code::Failed, error),
    })
}

/// Offers it no longer.
pub(super) fn unshare(fleet: &Fleet, asked: UnshareArguments) -> Result<UnshareResult, Problem> {
    let station = &fleet.berth(asked.device)?.station;
    let UnshareArguments { device, blob_id } = asked;
    let Some(buffer) = station.gpu.host_objects().withdraw(blob_id) else {
        let message = format!("device {device} has no share {blob_id}");
        return Err(Problem::new(Code::NoSuchShare, message));
    };
    tracing::info!(device, blob_id, buffer = %buffer.id(), "no longer sharing");
    let id = buffer.id();
    drop(buffer);
    let mut left = fleet.exchange.buffers().into_iter();
    let in_use = left.any(|buffer| buffer.id() == id);
    Ok(UnshareResult { in_use })
}

/// What is shared with the guest of a device.
pub(super) fn of(station: &Station) -> Vec<ShareStatus> {
    let objects = station.gpu.host_objects().all().into_iter();
    objects
        .map(|(blob_id, buffer)| status(station, blob_id, &buffer))
        .collect()
}

fn status(station: &Station, blob_id: u64, buffer: &Buffer) -> ShareStatus {
    let caching = buffer.offer().caching;
    ShareStatus {
        device: station.number,
        blob_id,
        uuid: buffer.uuid().unwrap_or_default().to_string(),
        buffer: number(buffer.id()),
        size: buffer.size(),
        exporter: buffer.exporter_name().to_owned(),
        origin: buffer.origin().map(str::to_owned),
        caching: caching.map(|known| known.caching.to_string()),
        caching_source: caching.map(|known| known.source.to_string()),
    }
}
