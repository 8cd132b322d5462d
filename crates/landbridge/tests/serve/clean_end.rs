//! How it ends: on a signal, in order, whatever is going on.

use std::sync::Arc;

use landbridge_protocol_gpu::CapsetId;
use rustix::process::Signal;

use crate::daemon::{Daemon, begin_map, eventually, refused, shared_blob};

#[test]
fn a_signal_ends_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(2);
        let guest = daemon.guest(0);
        daemon.signal(signal);
        assert!(daemon.wait().success());
        assert!(!daemon.path("gpu0.sock").exists());
        assert!(!daemon.path("gpu1.sock").exists());
        assert!(!daemon.path("control.sock").exists());
        drop(guest);
    }
}

#[test]
fn a_vmm_that_hangs_does_not_hold_it_up_for_ever() {
    let mut daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let blob = shared_blob(&gpu, context.id, 4096).unwrap();
    // From here on the VMM answers no request to map.
    let stall = gpu.guest().window().unwrap().stall();
    let _asked = begin_map(&gpu, &blob);
    eventually("the map is under way", || {
        // It is charged before the VMM is asked.
        let charges = &daemon.status().guests[0].charges;
        (charges[3].used == 1).then_some(())
    });
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert!(!daemon.path("gpu0.sock").exists());
    drop(stall);
}

#[test]
fn a_second_start_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start(1);
    let (code, said) = refused(daemon.dir().path(), &["--gpu", "gpu0.sock"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another process listens there"), "{said}");
    let (_, said) = refused(
        daemon.dir().path(),
        &["--gpu", "new.sock", "--control", "control.sock"],
    );
    assert!(said.contains("another process listens there"), "{said}");
    assert!(!daemon.path("new.sock").exists(), "nothing is left behind");
    assert_eq!(daemon.status().devices[0].connections, 0, "nobody knocked");
    daemon.guest(0).display_info().unwrap();
}

#[test]
fn what_a_killed_one_left_is_replaced() {
    let mut daemon = Daemon::start(1);
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(daemon.path("gpu0.sock").exists());
    let dir = Arc::clone(daemon.dir());
    let again = Daemon::start_in(&dir, 1, &[]);
    again.guest(0).display_info().unwrap();
}

#[test]
fn a_socket_that_was_taken_over_is_not_removed() {
    let mut daemon = Daemon::start(1);
    std::fs::remove_file(daemon.path("gpu0.sock")).unwrap();
    std::fs::write(daemon.path("gpu0.sock"), "somebody else's").unwrap();
    daemon.signal(Signal::TERM);
    daemon.wait();
    assert!(daemon.path("gpu0.sock").exists());
}
