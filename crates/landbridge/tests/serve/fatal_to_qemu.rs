//! What ends QEMU 11.1 is never offered to it, nor sent to it.
//!
//! | it dies of | and never meets it because |
//! |---|---|
//! | a window that is no power of two | it is refused on the command line; what is announced is one |
//! | an offset in the window that is not page-aligned | `hostile_guest`, maps; here with a VMM that counts |
//! | more than 511 maps | here, and the lab with a real QEMU |
//! | a reconnect with `server=on` | the printed arguments connect as a client |
//! | `SHARED_OBJECT` lookups of a dead exporter | none is made; the feature is there with a window only, whose maps are waited for by it |

use landbridge_protocol_gpu::{CapsetId, ErrorCode};
use landbridge_transport::Error;

use crate::daemon::{Daemon, landbridge, refused, shared_blob};
use crate::hostile_frontend::Frontend;

const GET_PROTOCOL_FEATURES: u32 = 15;
const GET_SHMEM_CONFIG: u32 = 44;
const SHARED_OBJECT: u32 = 18;
const SHMEM: u32 = 22;

fn word(bytes: &[u8], index: usize) -> u64 {
    u64::from_le_bytes(bytes[8 * index..8 * index + 8].try_into().unwrap())
}

#[test]
fn the_window_is_a_power_of_two_or_is_not_there() {
    for (size, bytes) in [("1MiB", 1 << 20), ("256MiB", 256 << 20), ("4GiB", 4 << 30)] {
        let dir = tempfile::tempdir().unwrap().into();
        let daemon = Daemon::start_in(&dir, 1, &["--window", size]);
        let mut frontend = Frontend::new(daemon.connect(0));
        frontend.negotiate();
        let config = frontend.ask(GET_SHMEM_CONFIG);
        assert_eq!(word(&config, 0), 1, "one region");
        let sizes: Vec<u64> = (0..256).map(|id| word(&config, 1 + id)).collect();
        assert_eq!(sizes[1], bytes, "virtio-gpu's region is number 1");
        assert_eq!(sizes.iter().sum::<u64>(), bytes, "and the only one");
    }
    let dir = tempfile::tempdir().unwrap();
    for size in ["3MiB", "100MiB", "0", "1", "4096MiB1"] {
        let (code, said) = refused(dir.path(), &["--gpu", "gpu.sock", "--window", size]);
        assert_eq!(code, Some(2), "{size}: {said}");
    }
}

#[test]
fn shared_objects_are_offered_with_a_window_only() {
    for (mode, window) in [("host-visible", 1), ("guest-import", 0)] {
        let dir = tempfile::tempdir().unwrap().into();
        let daemon = Daemon::start_in(&dir, 1, &["--gpu-mode", mode]);
        let mut frontend = Frontend::new(daemon.connect(0));
        frontend.negotiate();
        let features = word(&frontend.ask(GET_PROTOCOL_FEATURES), 0);
        assert_eq!(features >> SHARED_OBJECT & 1, window, "{features:#x}");
        assert_eq!(features >> SHMEM & 1, window, "{features:#x}");
    }
}

#[test]
fn the_vmm_connects_as_a_client() {
    let dir = tempfile::tempdir().unwrap();
    let qemu = dir.path().join("qemu");
    std::fs::write(
        &qemu,
        "#!/bin/sh\necho 'QEMU emulator version 11.1.3'\necho 'name \"vhost-user-test-device-pci\"'\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&qemu, mode).unwrap();
    let output = landbridge()
        .args(["serve", "--gpu", "gpu.sock", "--print-qemu-args", "--qemu"])
        .arg(&qemu)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("socket,"), "{:?}", output.stderr);
    assert!(!printed.contains("server"), "{printed}");
    assert!(!printed.contains("reconnect"), "{printed}");
}

/// What QEMU can bear.
const MOST: usize = 511;

#[test]
fn maps_end_before_qemu_does() {
    let daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let mut mappings = Vec::new();
    let code = loop {
        let blob = shared_blob(&gpu, context.id, 4096).unwrap();
        match gpu.map(&blob) {
            Ok(mapping) => mappings.push(mapping),
            Err(Error::Refused { code, .. }) => break code,
            Err(error) => panic!("{error}"),
        }
        assert!(mappings.len() < MOST, "too many");
    };
    assert_eq!(code, ErrorCode::OutOfMemory);
    assert_eq!(mappings.len(), 500, "what the manual says");
    let maps = gpu.guest().window().unwrap().maps();
    assert_eq!(maps.len(), 500, "and no more reached the VMM");
    assert!(maps.iter().all(|map| map.offset % 4096 == 0));
}
