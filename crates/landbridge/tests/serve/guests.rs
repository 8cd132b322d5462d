//! Guests at work, seen from outside.

use landbridge_protocol_gpu::{CapsetId, Format, MapCaching, Rect};
use landbridge_transport::guest::gpu::{Gpu, Picture};
use serde_json::Value;

use crate::daemon::{Daemon, shared_blob};
use landbridge::control::status::Status;

const PICTURE: Picture = Picture {
    format: Format::B8G8R8X8,
    width: 64,
    height: 16,
    stride: 256,
    offset: 0,
};

/// Pixels that differ from one another, as they lie in memory.
fn pixels() -> Vec<u8> {
    (0..16 * 64u32)
        .flat_map(|n| [n as u8, (n >> 4) as u8, 200, 0])
        .collect()
}

/// What the screen shows of them.
fn rgba(bgrx: &[u8]) -> Vec<u8> {
    bgrx.chunks_exact(4)
        .flat_map(|pixel| [pixel[2], pixel[1], pixel[0], 255])
        .collect()
}

#[test]
fn a_screenshot_shows_what_the_guest_drew() {
    let daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let blob = shared_blob(&gpu, context.id, 4096).unwrap();
    let uuid = gpu.assign_uuid(&blob).unwrap();
    let mapping = gpu.map(&blob).unwrap();
    assert_eq!(mapping.caching(), MapCaching::Cached);
    mapping.write(0, &pixels()).unwrap();
    gpu.set_scanout_blob(0, &blob, PICTURE).unwrap();
    gpu.flush(&blob, Rect::of_size(64, 16)).unwrap();
    assert_eq!(daemon.screenshot(&[]), (64, 16, rgba(&pixels())));

    mapping.write(0, &[0xff; 4]).unwrap();
    let (.., again) = daemon.screenshot(&["--output", "0", "--device", "0"]);
    assert_eq!(again[..4], [0xff; 4], "read in place, not from a copy");

    let status = daemon.status();
    assert_eq!(status.copied_bytes, 0);
    assert_eq!(status.devices[0].counters.screenshots, 2);
    let [buffer] = status.buffers.as_slice() else {
        panic!("{:?}", status.buffers);
    };
    assert_eq!(buffer.uuid, Some(uuid.to_string()));
    assert_eq!(buffer.caching.as_deref(), Some("write-back"));
    assert!(
        buffer.importers.len() >= 2,
        "window and scanout: {buffer:?}"
    );
    assert_eq!(status.devices[0].maps, 1);

    gpu.unmap(mapping).unwrap();
    gpu.disable_scanout(0).unwrap();
    let output = daemon.ask(&["screenshot", "dark.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!daemon.path("dark.png").exists());
}

#[test]
fn a_dumb_buffer_is_shown_after_a_copy_that_is_counted() {
    let daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    let resource = gpu.create_2d(Format::B8G8R8X8, 64, 16).unwrap();
    let backing = gpu.scattered_backing(resource.size()).unwrap();
    backing.write(0, &pixels()).unwrap();
    gpu.attach_backing(&resource, &backing).unwrap();
    gpu.set_scanout(0, &resource, resource.rect()).unwrap();
    gpu.transfer(&resource, resource.rect(), 0).unwrap();
    gpu.flush(&resource, resource.rect()).unwrap();
    assert_eq!(daemon.screenshot(&[]), (64, 16, rgba(&pixels())));
    let status = daemon.status();
    assert_eq!(status.copied_bytes, resource.size());
    assert_eq!(
        status.devices[0].counters.transferred_bytes,
        resource.size()
    );
}

#[test]
fn devices_share_one_exchange_and_guests_have_accounts_of_their_own() {
    let daemon = Daemon::start(2);
    let make = |gpu: &Gpu, size| {
        let context = gpu.create_context("test", CapsetId(0)).unwrap();
        let blob = shared_blob(gpu, context.id, size).unwrap();
        gpu.assign_uuid(&blob).unwrap().to_string()
    };
    let (one, two) = (daemon.guest(0), daemon.guest(1));
    let uuids = [make(&one, 4096), make(&two, 8192)];
    let status = daemon.status();
    let found: Vec<_> = status
        .buffers
        .iter()
        .map(|it| it.uuid.clone().unwrap())
        .collect();
    assert_eq!(found, uuids);
    assert_eq!((bytes(&status, 0), bytes(&status, 1)), (4096, 8192));

    drop(one);
    daemon.wait_until_idle(0);
    let status = daemon.status();
    assert_eq!(bytes(&status, 0), 0, "all is given back");
    assert_eq!(status.buffers.len(), 1, "and nobody else's is touched");
    assert!(status.devices[1].connected);
}

/// How many bytes of buffers a guest is charged for.
fn bytes(status: &Status, guest: usize) -> u64 {
    let charges = &status.guests[guest].charges;
    charges.iter().find(|it| it.of == "bytes").unwrap().used
}

#[test]
fn a_guest_stays_within_its_limits() {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let config = "[limits]\npinned-memory = '64KiB'\n";
    std::fs::write(dir.path().join("it.toml"), config).unwrap();
    let daemon = Daemon::start_in(&dir, 1, &["--config", "it.toml"]);
    let gpu = daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    shared_blob(&gpu, context.id, 65536).unwrap();
    assert!(shared_blob(&gpu, context.id, 4096).is_err());
    assert_eq!(daemon.status().guests[0].charges[0].limit, 65536);
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_keys_of_the_status_are_stable() {
    let daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    let context = gpu.create_context("\x1b[31mred", CapsetId(0)).unwrap();
    let blob = shared_blob(&gpu, context.id, 4096).unwrap();
    gpu.set_scanout_blob(0, &blob, PICTURE).unwrap();
    let output = daemon.ask(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        keys(&status),
        [
            "buffers",
            "caching_from",
            "copied_bytes",
            "device_memory",
            "devices",
            "guests",
            "moves",
            "pid",
            "shares",
            "unknown_caching",
            "uptime_seconds",
            "version"
        ]
    );
    let device = &status["devices"][0];
    assert_eq!(
        keys(device),
        [
            "connected",
            "connections",
            "contexts",
            "counters",
            "device",
            "fences_outstanding",
            "guest",
            "idle_maps",
            "kind",
            "last_error",
            "maps",
            "mode",
            "resources",
            "scanouts",
            "socket",
            "waiting",
            "window_bytes",
        ]
    );
    assert_eq!(
        keys(&device["counters"]),
        [
            "commands",
            "deferred",
            "flushes",
            "refused",
            "resets",
            "screenshot_bytes",
            "screenshots",
            "stuck",
            "transferred_bytes",
        ]
    );
    assert_eq!(
        keys(&device["resources"][0]),
        [
            "backing_ranges",
            "buffer",
            "id",
            "kind",
            "mapped_at",
            "size",
            "uuid"
        ]
    );
    assert_eq!(keys(&device["scanouts"][0]), ["cursor", "output", "shows"]);
    assert_eq!(
        keys(&device["scanouts"][0]["shows"]),
        ["format", "height", "offset", "resource", "stride", "width"]
    );
    assert_eq!(keys(&device["contexts"][0]), ["id", "name", "resources"]);
    assert_eq!(
        device["contexts"][0]["name"], r"\x1b[31mred",
        "no terminal is painted"
    );
    assert_eq!(keys(&status["guests"][0]), ["charges", "devices", "guest"]);
    assert_eq!(
        keys(&status["guests"][0]["charges"][0]),
        ["limit", "of", "used"]
    );
    assert_eq!(
        keys(&status["buffers"][0]),
        [
            "buffer",
            "caching",
            "caching_source",
            "copied_bytes",
            "differing_aliases",
            "exporter",
            "fences_outstanding",
            "guest",
            "importers",
            "life",
            "model",
            "note",
            "origin",
            "size",
            "uuid",
        ]
    );
    assert_eq!(
        keys(&status["buffers"][0]["importers"][0]),
        ["caching", "direction", "method", "model", "name"]
    );
    let table = daemon.ask(&["status"]).stdout;
    assert!(String::from_utf8(table).unwrap().contains("host blob"));
}
