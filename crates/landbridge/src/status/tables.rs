//! The status for people.

use std::fmt::Write;

use comfy_table::Table;

use crate::control::status::{
    BufferStatus, DeviceMemoryStatus, DeviceStatus, GuestStatus, ShareStatus, Status,
};
use crate::serve::settings::Size;
use crate::terminal::{plain, table};

/// All tables, one after the other.
pub(super) fn of(status: &Status) -> String {
    let mut text = format!(
        "landbridge {}, process {}, serving for {} s, {} bytes copied\n",
        status.version, status.pid, status.uptime_seconds, status.copied_bytes
    );
    let tables = [
        Some(devices(&status.devices)),
        resources(&status.devices),
        Some(guests(&status.guests)),
        buffers(&status.buffers),
        shares(&status.shares),
        device_memory(&status.device_memory),
    ];
    // Writing to a string does not fail.
    for table in tables.into_iter().flatten() {
        let _ = writeln!(text, "{table}");
    }
    for line in aliases(&status.buffers) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(
        text,
        "caching is known from: {}; unknown caching is {}",
        status.caching_from,
        match &status.unknown_caching {
            Some(caching) => format!("taken for {caching}"),
            None => "refused".to_owned(),
        }
    );
    text
}

fn devices(devices: &[DeviceStatus]) -> Table {
    let mut table = table(&[
        "device", "guest", "mode", "VMM", "shows", "maps", "waiting", "fences", "commands",
        "refused",
    ]);
    for device in devices {
        let visit = match (device.connected, &device.last_error) {
            (true, _) => "connected".to_owned(),
            (false, None) => format!("none ({} so far)", device.connections),
            (false, Some(error)) => format!("none: {error}"),
        };
        table.add_row([
            format!("{} {}", device.kind, device.device),
            device.guest.clone(),
            match device.window_bytes {
                Some(window) => format!("{}, window of {}", device.mode, Size(window)),
                None => device.mode.clone(),
            },
            visit,
            shows(device),
            match device.idle_maps {
                0 => device.maps.to_string(),
                idle => format!("{} and {idle} idle", device.maps),
            },
            device.waiting.to_string(),
            device.fences_outstanding.to_string(),
            device.counters.commands.to_string(),
            device.counters.refused.to_string(),
        ]);
    }
    table
}

fn shows(device: &DeviceStatus) -> String {
    let outputs = device.scanouts.iter().map(|scanout| match &scanout.shows {
        None => format!("{}: nothing", scanout.output),
        Some(shown) => format!(
            "{}: resource {}, {}x{}",
            scanout.output, shown.resource, shown.width, shown.height
        ),
    });
    outputs.collect::<Vec<_>>().join("\n")
}

fn resources(devices: &[DeviceStatus]) -> Option<Table> {
    let mut table = table(&["device", "resource", "kind", "size", "buffer", "mapped at"]);
    for device in devices {
        for resource in &device.resources {
            table.add_row([
                device.device.to_string(),
                resource.id.to_string(),
                resource.kind.clone(),
                Size(resource.size).to_string(),
                resource
                    .buffer
                    .map_or("none".to_owned(), |it| it.to_string()),
                resource
                    .mapped_at
                    .map_or(String::new(), |it| format!("{it:#x}")),
            ]);
        }
    }
    (!table.is_empty()).then_some(table)
}

fn guests(guests: &[GuestStatus]) -> Table {
    let mut table = table(&["guest", "devices", "charged for", "holds", "of"]);
    for guest in guests {
        let numbers: Vec<_> = guest.devices.iter().map(usize::to_string).collect();
        for charge in &guest.charges {
            table.add_row([
                &guest.guest,
                &numbers.join(", "),
                &charge.of,
                &charge.used.to_string(),
                &charge.limit.to_string(),
            ]);
        }
    }
    table
}

fn buffers(buffers: &[BufferStatus]) -> Option<Table> {
    let mut table = table(&[
        "buffer",
        "uuid",
        "size",
        "exporter",
        "model",
        "caching",
        "copied",
        "fences",
        "importers",
    ]);
    for buffer in buffers {
        let importers = buffer.importers.iter().map(|importer| {
            format!(
                "{}: {}, {}",
                importer.name, importer.method, importer.direction
            )
        });
        table.add_row([
            buffer.buffer.to_string(),
            buffer.uuid.clone().unwrap_or_default(),
            Size(buffer.size).to_string(),
            exporter(buffer),
            match buffer.life.as_str() {
                "live" | "" => buffer.model.clone(),
                life => format!("{}: {life}", buffer.model),
            },
            caching(&buffer.caching, &buffer.caching_source),
            buffer.copied_bytes.to_string(),
            buffer.fences_outstanding.to_string(),
            importers.collect::<Vec<_>>().join("\n"),
        ]);
    }
    (!table.is_empty()).then_some(table)
}

fn caching(caching: &Option<String>, source: &Option<String>) -> String {
    match (caching, source) {
        (Some(caching), Some(source)) => format!("{caching} ({source})"),
        (Some(caching), None) => caching.clone(),
        (None, _) => "unknown".to_owned(),
    }
}

/// One line for each mapping that is cached otherwise than its buffer.
fn aliases(buffers: &[BufferStatus]) -> impl Iterator<Item = String> {
    let all = buffers.iter().flat_map(|buffer| {
        let aliases = buffer.differing_aliases.iter().flatten();
        aliases.map(move |alias| (buffer, alias))
    });
    all.map(|(buffer, alias)| {
        format!(
            "warning: buffer {} is {}, but process {} ({}) maps it {} ({})",
            buffer.buffer,
            buffer.caching.as_deref().unwrap_or("unknown"),
            alias.pid,
            plain(&alias.command),
            alias.caching,
            alias.source
        )
    })
}

fn shares(shares: &[ShareStatus]) -> Option<Table> {
    let mut table = table(&["share", "device", "blob id", "buffer", "size", "caching"]);
    for share in shares {
        let origin = share.origin.as_deref().unwrap_or_default();
        table.add_row([
            format!("{} {}", share.exporter, plain(origin)),
            share.device.to_string(),
            share.blob_id.to_string(),
            share.buffer.to_string(),
            Size(share.size).to_string(),
            caching(&share.caching, &share.caching_source),
        ]);
    }
    (!table.is_empty()).then_some(table)
}

/// What the kernel's dmem controller says, where there is one.
fn device_memory(regions: &[DeviceMemoryStatus]) -> Option<Table> {
    let mut table = table(&["device memory (dmem)", "holds", "of"]);
    for region in regions {
        let limit = region.limit.map(|limit| Size(limit).to_string());
        table.add_row([
            plain(&region.region).to_string(),
            Size(region.used).to_string(),
            limit.unwrap_or_else(|| "any".to_owned()),
        ]);
    }
    (!table.is_empty()).then_some(table)
}

/// Who owns the memory, and what there is to say about it.
fn exporter(buffer: &BufferStatus) -> String {
    match &buffer.note {
        None => buffer.exporter.clone(),
        Some(note) => format!("{}\n({note})", buffer.exporter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::AliasStatus;

    #[test]
    fn an_empty_program_has_a_status_too() {
        assert!(of(&Status::default()).contains("0 bytes copied"));
    }

    #[test]
    fn what_the_kernel_charges_is_shown() {
        let status = Status {
            device_memory: vec![DeviceMemoryStatus {
                region: "drm/0000:03:00.0/vram0".to_owned(),
                used: 8192,
                limit: None,
            }],
            ..Status::default()
        };
        let text = of(&status);
        assert!(text.contains("vram0") && text.contains("8KiB"), "{text}");
        assert!(!of(&Status::default()).contains("dmem"));
    }

    #[test]
    fn an_alias_with_another_caching_is_flagged() {
        let status = Status {
            buffers: vec![BufferStatus {
                buffer: 7,
                caching: Some("write-back".to_owned()),
                differing_aliases: Some(vec![AliasStatus {
                    pid: 42,
                    command: "player\u{1b}".to_owned(),
                    caching: "write-combining".to_owned(),
                    source: "pte".to_owned(),
                }]),
                ..BufferStatus::default()
            }],
            ..Status::default()
        };
        let line = "warning: buffer 7 is write-back, but process 42 (player\\u{1b}) \
                    maps it write-combining (pte)";
        assert!(of(&status).contains(line));
    }

    #[test]
    fn a_connection_that_ended_badly_is_told() {
        let status = Status {
            devices: vec![DeviceStatus {
                last_error: Some("broke it".to_owned()),
                ..DeviceStatus::default()
            }],
            ..Status::default()
        };
        assert!(of(&status).contains("broke it"));
    }
}
