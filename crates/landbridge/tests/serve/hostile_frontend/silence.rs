//! VMMs that say too little, or too much.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use landbridge_protocol_gpu::CapsetId;
use landbridge_transport::EmbeddedGuest;
use landbridge_transport::guest::Config;
use landbridge_transport::guest::gpu::Gpu;
use rustix::process::Signal;

use super::Scene;
use super::frontend::{Frontend, message, sealed};
use crate::daemon::{begin_map, eventually, shared_blob};

/// The beginning of a message: nothing, half a header, a header. (One that
/// ends within its payload counts as broken at once.)
fn half_messages() -> [Vec<u8>; 3] {
    let whole = message(2, 1, &[0; 8]);
    [0, 5, 12].map(|len| whole[..len].to_vec())
}

#[test]
fn half_a_message_and_silence_hold_up_nobody_else() {
    let scene = Scene::new();
    for half in half_messages() {
        let mut silent = Frontend::new(scene.daemon.connect(0));
        silent.raw(&half);
        let start = Instant::now();
        for _ in 0..10 {
            scene.check_bystander("beside silence");
        }
        assert!(start.elapsed() < Duration::from_secs(5));
        eventually("it is connected", || {
            scene.daemon.status().devices[0].connected.then_some(())
        });
        // Who comes next waits until the silent one has gone.
        let socket = scene.daemon.connect(0);
        let next = std::thread::spawn(|| {
            let guest = EmbeddedGuest::attach(socket, Config::default()).unwrap();
            Gpu::open(guest.into()).display_info().map(drop)
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!next.is_finished());
        drop(silent);
        next.join().unwrap().unwrap();
        scene.daemon.wait_until_idle(0);
    }
}

#[test]
fn silence_does_not_hold_up_the_end() {
    for half in half_messages() {
        let mut scene = Scene::new();
        let mut silent = Frontend::new(scene.daemon.connect(0));
        silent.raw(&half);
        eventually("it is connected", || {
            scene.daemon.status().devices[0].connected.then_some(())
        });
        let start = Instant::now();
        scene.daemon.signal(Signal::TERM);
        assert!(scene.daemon.wait().success());
        assert!(start.elapsed() < Duration::from_secs(4), "it waited");
    }
}

#[test]
fn floods_hold_up_nobody_else() {
    let mut scene = Scene::new();
    scene.survives("questions whose answers nobody reads", |frontend| {
        let questions = message(1, 1, &[]).repeat(1000);
        frontend.flood(&questions);
    });
    scene.survives("configurations that nobody reads", |frontend| {
        frontend.negotiate();
        let payload = [[0u32, 256, 0].map(u32::to_le_bytes).concat(), vec![0; 256]].concat();
        frontend.flood(&message(24, 1, &payload).repeat(100));
    });
    scene.survives("resets", |frontend| {
        frontend.negotiate();
        frontend.flood(&message(34, 1, &[]).repeat(1000));
    });
    let before = scene.daemon.descriptors();
    for _ in 0..500 {
        // More than wait to be accepted are turned away.
        let _ = scene.daemon.try_connect(0);
    }
    scene.daemon.wait_until_idle(0);
    scene.daemon.wait_for_descriptors(&before);
    scene.survives("connections", |_| {});
}

#[test]
fn a_channel_that_is_none() {
    let mut scene = Scene::new();
    let (closed, _) = UnixStream::pair().unwrap();
    let (datagrams, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let things: [(&str, OwnedFd); 4] = [
        ("memory", sealed(4096)),
        ("a pipe", std::io::pipe().unwrap().1.into()),
        ("a socket that was hung up", closed.into()),
        ("a socket of datagrams", datagrams.into()),
    ];
    for (what, thing) in &things {
        scene.survives(what, |frontend| {
            frontend.negotiate();
            // Twice: the second takes the place of the first.
            frontend.send(21, &[], &[thing.as_fd()]);
            frontend.send(21, &[], &[thing.as_fd()]);
        });
    }
}

#[test]
fn a_vmm_that_answers_no_map_and_hangs_up() {
    let mut scene = Scene::new();
    let gpu = scene.daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let blob = shared_blob(&gpu, context.id, 4096).unwrap();
    let stall = gpu.guest().window().unwrap().stall();
    let asked = begin_map(&gpu, &blob);
    scene.check_bystander("beside a VMM that does not answer");
    gpu.guest().hang_up();
    drop((stall, asked));
    drop(gpu);
    scene.daemon.wait_until_idle(0);
    scene.survives("it", |_| {});
}
