//! The metrics: the numbers of the status, by name.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::control::status::{ChargeStatus, DeviceMemoryStatus, DeviceStatus, Status};

/// The status in the text format of OpenMetrics.
pub(super) fn text(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("landbridge");
    registry.register_collector(Box::new(Snapshot(status.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Snapshot(Status);

/// A number that only grows, of each device.
type OfDevice = (&'static str, &'static str, fn(&DeviceStatus) -> u64);

const COUNTERS: [OfDevice; 10] = [
    ("connections", "VMMs that connected", |it| it.connections),
    ("commands", "Commands answered", |it| it.counters.commands),
    ("refused", "Commands answered with an error", |it| {
        it.counters.refused
    }),
    ("flushes", "Pictures shown", |it| it.counters.flushes),
    (
        "transferred_bytes",
        "Bytes copied by transfer commands",
        |it| it.counters.transferred_bytes,
    ),
    (
        "deferred",
        "Commands that waited for other users of a buffer",
        |it| it.counters.deferred,
    ),
    ("stuck", "Commands that waited in vain", |it| {
        it.counters.stuck
    }),
    ("resets", "Resets", |it| it.counters.resets),
    ("screenshots", "Screenshots taken", |it| {
        it.counters.screenshots
    }),
    ("screenshot_bytes", "Bytes read for screenshots", |it| {
        it.counters.screenshot_bytes
    }),
];

const GAUGES: [OfDevice; 7] = [
    ("connected", "Whether a VMM is connected", |it| {
        it.connected.into()
    }),
    ("resources", "Resources of the guest", |it| {
        it.resources.len() as u64
    }),
    ("contexts", "Contexts of the guest", |it| {
        it.contexts.len() as u64
    }),
    ("maps", "Blobs in the window", |it| it.maps as u64),
    (
        "idle_maps",
        "Maps that stay in the window for the guest's next blobs",
        |it| it.idle_maps as u64,
    ),
    (
        "waiting",
        "Commands that wait for other users of a buffer",
        |it| it.waiting as u64,
    ),
    (
        "fences_outstanding",
        "Fenced commands that are not answered",
        |it| it.fences_outstanding as u64,
    ),
];

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Self(status) = self;
        one(
            &mut encoder,
            "copied_bytes",
            "Bytes of pixels copied",
            &ConstCounter::new(status.copied_bytes),
        )?;
        let buffers = status.buffers.len() as u64;
        one(&mut encoder, "buffers", "Living buffers", &gauge(buffers))?;
        let bytes = status.buffers.iter().map(|buffer| buffer.size).sum();
        one(
            &mut encoder,
            "buffer_bytes",
            "Bytes of living buffers",
            &gauge(bytes),
        )?;
        let moves = &status.moves;
        for (name, help, value) in [
            ("moves", "Moves of buffers to other memory", moves.moves),
            ("moved_bytes", "Bytes that moves copied", moves.bytes),
            ("moves_failed", "Moves that were given up", moves.failed),
            ("moves_refused", "Moves past the rate", moves.refused),
        ] {
            one(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        for (name, help, value) in COUNTERS {
            let name = format!("device_{name}");
            let family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            devices(family, status, |device| ConstCounter::new(value(device)))?;
        }
        for (name, help, value) in GAUGES {
            let name = format!("device_{name}");
            let family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            devices(family, status, |device| gauge(value(device)))?;
        }
        charges(
            &mut encoder,
            status,
            "guest_used",
            "What a guest is charged for",
            |it| it.used,
        )?;
        charges(
            &mut encoder,
            status,
            "guest_limit",
            "What a guest may hold",
            |it| it.limit,
        )?;
        regions(
            &mut encoder,
            status,
            "kernel_device_memory_used",
            "Device memory that the kernel charges the program's control group",
            |it| Some(it.used),
        )?;
        regions(
            &mut encoder,
            status,
            "kernel_device_memory_limit",
            "Device memory that the kernel allows it, where there is a limit",
            |it| it.limit,
        )
    }
}

/// Values past 2^63 are limits that nobody reaches.
fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let no_unit: Option<&Unit> = None;
    metric.encode(encoder.encode_descriptor(name, help, no_unit, metric.metric_type())?)
}

fn devices<M: EncodeMetric>(
    mut family: MetricEncoder<'_>,
    status: &Status,
    metric: impl Fn(&DeviceStatus) -> M,
) -> fmt::Result {
    for device in &status.devices {
        let labels = [
            ("device", device.device.to_string()),
            ("guest", device.guest.clone()),
        ];
        metric(device).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn charges(
    encoder: &mut DescriptorEncoder<'_>,
    status: &Status,
    name: &str,
    help: &str,
    value: fn(&ChargeStatus) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for guest in &status.guests {
        for charge in &guest.charges {
            let labels = [("guest", &guest.guest), ("of", &charge.of)];
            let labels = labels.map(|(key, value)| (key, value.clone()));
            gauge(value(charge)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn regions(
    encoder: &mut DescriptorEncoder<'_>,
    status: &Status,
    name: &str,
    help: &str,
    value: fn(&DeviceMemoryStatus) -> Option<u64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for region in &status.device_memory {
        if let Some(value) = value(region) {
            let labels = [("region", region.region.clone())];
            gauge(value).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{Counters, GuestStatus};

    #[test]
    fn every_device_and_guest_has_its_lines() {
        let device = |device, commands| DeviceStatus {
            device,
            guest: "vm \"one\"".to_owned(),
            counters: Counters {
                commands,
                ..Counters::default()
            },
            ..DeviceStatus::default()
        };
        let status = Status {
            devices: vec![device(0, 5), device(1, 6)],
            guests: vec![GuestStatus {
                guest: "vm".to_owned(),
                devices: vec![0, 1],
                charges: vec![ChargeStatus {
                    of: "buffers".to_owned(),
                    used: 3,
                    limit: u64::MAX,
                }],
            }],
            device_memory: vec![DeviceMemoryStatus {
                region: "drm/0000:03:00.0/vram0".to_owned(),
                used: 8192,
                limit: None,
            }],
            ..Status::default()
        };
        let text = text(&status).unwrap();
        assert!(!text.contains("kernel_device_memory_limit{"), "{text}");
        for line in [
            "# TYPE landbridge_device_commands counter",
            r#"landbridge_device_commands_total{device="0",guest="vm \"one\""} 5"#,
            r#"landbridge_device_commands_total{device="1",guest="vm \"one\""} 6"#,
            r#"landbridge_kernel_device_memory_used{region="drm/0000:03:00.0/vram0"} 8192"#,
            r#"landbridge_guest_used{guest="vm",of="buffers"} 3"#,
            r#"landbridge_guest_limit{guest="vm",of="buffers"} 9223372036854775807"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
    }
}
