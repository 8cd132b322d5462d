//! VMMs and backends come and go, and leave nothing behind.

use std::sync::Arc;

use landbridge_protocol_gpu::{CONTROL_QUEUE, CapsetId, Format};
use landbridge_transport::guest::gpu::Gpu;
use rustix::process::Signal;

use crate::daemon::{Daemon, begin_map, shared_blob};

/// Makes one of each thing that a guest can make.
fn use_it(gpu: &Gpu) {
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let blob = shared_blob(gpu, context.id, 65536).unwrap();
    gpu.assign_uuid(&blob).unwrap();
    let mapping = gpu.map(&blob).unwrap();
    mapping.write(0, b"bytes").unwrap();
    let backing = gpu.backing(16 << 10).unwrap();
    gpu.create_guest_blob(&backing).unwrap();
    let resource = gpu.create_2d(Format::B8G8R8X8, 64, 64).unwrap();
    gpu.attach_backing(&resource, &backing).unwrap();
    gpu.set_scanout(0, &resource, resource.rect()).unwrap();
    gpu.flush(&resource, resource.rect()).unwrap();
    // Nothing is undone: whoever dies has no time for that.
}

#[test]
fn fifty_vmms_leave_no_descriptor() {
    let daemon = Daemon::start(1);
    use_it(&daemon.guest(0));
    daemon.wait_until_idle(0);
    let before = daemon.descriptors();
    for _ in 0..50 {
        use_it(&daemon.guest(0));
        daemon.wait_until_idle(0);
    }
    daemon.wait_for_descriptors(&before);
    let status = daemon.status();
    assert_eq!(status.devices[0].connections, 51);
    assert!(status.buffers.is_empty());
    for charge in &status.guests[0].charges {
        assert_eq!(charge.used, 0, "{charge:?}");
    }
}

#[test]
fn fifty_backends_serve_one_after_another() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    for life in 0..50 {
        let mut daemon = Daemon::start_in(&dir, 1, &[]);
        let guest = daemon.guest(0);
        use_it(&guest);
        let signal = match life % 2 {
            0 => Signal::KILL,
            _ => Signal::TERM,
        };
        daemon.signal(signal);
        let status = daemon.wait();
        assert_eq!(status.success(), signal == Signal::TERM);
    }
}

#[test]
fn a_driver_that_is_bound_again_finds_a_new_device() {
    let daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    for round in 0..20 {
        use_it(&gpu);
        match round % 2 {
            0 => gpu.guest().rebind().unwrap(),
            _ => gpu.guest().reset().unwrap(),
        }
        let status = daemon.status();
        assert!(status.devices[0].connected);
        assert!(status.devices[0].resources.is_empty());
        assert!(status.buffers.is_empty());
    }
}

#[test]
fn a_vmm_that_dies_in_mid_command_takes_nothing_along() {
    let daemon = Daemon::start(1);
    use_it(&daemon.guest(0));
    daemon.wait_until_idle(0);
    let before = daemon.descriptors();
    for _ in 0..10 {
        let gpu = daemon.guest(0);
        use_it(&gpu);
        let context = gpu.create_context("more", CapsetId(0)).unwrap();
        let blob = shared_blob(&gpu, context.id, 4096).unwrap();
        let stall = gpu.guest().window().unwrap().stall();
        let asked = begin_map(&gpu, &blob);
        // The device waits for the VMM, more waits behind it, and the VMM is
        // gone.
        let behind = gpu.guest().submit(CONTROL_QUEUE, &[0; 24], 64).unwrap();
        gpu.guest().hang_up();
        drop(stall);
        drop((asked, behind));
        drop(gpu);
        daemon.wait_until_idle(0);
    }
    daemon.wait_for_descriptors(&before);
    use_it(&daemon.guest(0));
}
