//! Rings that can't be, and descriptors that can't tell anybody anything.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use super::Scene;
use super::frontend::{Region, Ring, eventfd, publish, sealed};

const REGION: Region = Region {
    guest: 0,
    size: 1 << 20,
    user: 0x7000_0000_0000,
    offset: 0,
};

const GOOD: Ring = Ring {
    number: 0,
    size: 256,
    base: 0,
    user: REGION.user,
};

#[test]
fn rings_that_cannot_be() {
    let mut scene = Scene::new();
    let file = sealed(REGION.size);
    for (what, why, ring) in [
        ("an empty ring", "out of range", Ring { size: 0, ..GOOD }),
        (
            "a ring longer than any",
            "out of range",
            Ring {
                size: 0x8000,
                ..GOOD
            },
        ),
        (
            "a ring of everything",
            "out of range",
            Ring {
                size: u32::MAX,
                ..GOOD
            },
        ),
        ("a third ring", "out of range", Ring { number: 2, ..GOOD }),
        (
            "a ring far away",
            "out of range",
            Ring {
                number: u32::MAX,
                ..GOOD
            },
        ),
    ] {
        scene.refuses(what, why, |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[REGION], &[file.as_fd()]);
            let kick = frontend.start_ring(ring);
            let _ = rustix::io::write(&kick, &1u64.to_ne_bytes());
        });
    }
}

/// What is only wrong when it is used, or where the driver put it: the queue
/// rests. A VMM passes on what a driver says, and may not survive that the
/// connection ends over it.
#[test]
fn rings_that_lead_nowhere() {
    let mut scene = Scene::new();
    let file = sealed(REGION.size);
    let end = REGION.user + REGION.size;
    for (what, ring) in [
        ("a size that is no power of two", Ring { size: 3, ..GOOD }),
        (
            "a base beyond the ring",
            Ring {
                base: u32::MAX,
                ..GOOD
            },
        ),
        ("rings at address 0", Ring { user: 0, ..GOOD }),
        ("rings past the memory", Ring { user: end, ..GOOD }),
        (
            "rings that end outside",
            Ring {
                user: end - 16,
                ..GOOD
            },
        ),
        (
            "rings that wrap",
            Ring {
                user: u64::MAX - 15,
                ..GOOD
            },
        ),
        (
            "misaligned rings",
            Ring {
                user: REGION.user + 1,
                ..GOOD
            },
        ),
        (
            "a table that reaches past the memory",
            Ring {
                size: 1024,
                user: REGION.user + REGION.size - 0x5000,
                ..GOOD
            },
        ),
    ] {
        scene.survives(what, |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[REGION], &[file.as_fd()]);
            let kick = frontend.start_ring(ring);
            for _ in 0..100 {
                rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
            }
            frontend.stop_rings();
        });
    }
    scene.refuses("rings before there is memory", "out of range", |frontend| {
        frontend.negotiate();
        frontend.start_ring(GOOD);
    });
}

#[test]
fn kicks_and_calls_that_are_no_eventfds() {
    let mut scene = Scene::new();
    let file = sealed(REGION.size);
    let (reader, writer) = std::io::pipe().unwrap();
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    let things: [(&str, OwnedFd); 6] = [
        ("the reading end of a pipe", reader.into()),
        ("the writing end of a pipe", writer.into()),
        ("a socket that was hung up", socket.into()),
        ("/dev/zero", File::open("/dev/zero").unwrap().into()),
        ("a directory", File::open("/").unwrap().into()),
        ("guest memory", sealed(4096)),
    ];
    for (what, thing) in &things {
        scene.survives(what, |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[REGION], &[file.as_fd()]);
            let kick = frontend.start_ring(GOOD);
            frontend.kick_by(thing.as_fd());
            frontend.call_by(thing.as_fd());
            rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
            frontend.stop_rings();
        });
    }
    let log = std::fs::read_to_string(scene.daemon.path("log")).unwrap();
    assert!(log.contains("no eventfd"), "{log}");
}

#[test]
fn a_call_that_is_full_holds_nobody_up() {
    let mut scene = Scene::new();
    let file = sealed(REGION.size);
    scene.survives("a full call", |frontend| {
        frontend.negotiate();
        frontend.set_memory(&[REGION], &[file.as_fd()]);
        let full = eventfd();
        rustix::io::write(&full, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        publish(&file, 64);
        let kick = frontend.start_ring(GOOD);
        frontend.call_by(full.as_fd());
        for _ in 0..100 {
            rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
        }
        frontend.stop_rings();
    });
}
