//! A VMM that means harm: whatever it sends, the program lives, the other
//! device works on, and nothing is left behind.

mod frontend;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use landbridge_protocol_gpu::CapsetId;
use landbridge_transport::guest::gpu::Gpu;

use crate::daemon::{Daemon, shared_blob};
use frontend::{Frontend, Region, memfd};

/// The program with a hostile VMM on device 0 and a guest on device 1.
struct Scene {
    daemon: Daemon,
    bystander: Gpu,
}

impl Scene {
    fn new() -> Self {
        let daemon = Daemon::start(2);
        let bystander = daemon.guest(1);
        Self { daemon, bystander }
    }

    /// Lets `attack` loose and looks at what it leaves. Returns what the
    /// program says of it.
    fn survives(&mut self, what: &str, attack: impl Fn(&mut Frontend)) -> Option<String> {
        // The first round finds what is allocated once.
        let mut last_error = None;
        let mut before = None;
        for _ in 0..2 {
            let mut frontend = Frontend::new(self.daemon.connect(0));
            attack(&mut frontend);
            drop(frontend);
            self.daemon.wait_until_idle(0);
            assert!(self.daemon.is_alive(), "{what}");
            self.check_bystander(what);
            last_error = self.daemon.status().devices[0].last_error.clone();
            match &before {
                None => before = Some(self.daemon.descriptors()),
                Some(before) => self.daemon.wait_for_descriptors(before),
            }
        }
        self.daemon.guest(0).display_info().expect(what);
        self.daemon.wait_until_idle(0);
        last_error
    }

    fn check_bystander(&self, what: &str) {
        let context = self
            .bystander
            .create_context("bystander", CapsetId(0))
            .expect(what);
        let blob = shared_blob(&self.bystander, context.id, 4096).expect(what);
        let mapping = self.bystander.map(&blob).expect(what);
        mapping.write(0, b"mine").expect(what);
        assert_eq!(mapping.read(0, 4).expect(what), b"mine");
        self.bystander.unmap(mapping).expect(what);
        self.bystander.unref(&blob).expect(what);
        self.bystander.destroy_context(&context).expect(what);
    }
}

#[test]
fn bytes_that_are_no_message() {
    let mut scene = Scene::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = move |len: usize| -> Vec<u8> {
        let next = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        (0..len).map(next).collect()
    };
    for len in [0, 1, 11, 12, 13, 100, 5000] {
        let bytes = noise(len);
        scene.survives("noise", |frontend| frontend.raw(&bytes));
    }
    for (request, flags, size) in [
        (1, 1, u32::MAX),
        (1, 0, 0),
        (1, 2, 0),
        (1, u32::MAX, 0),
        (u32::MAX, 1, 0),
        (0, 1, 0),
        (5, 1, 4096),
    ] {
        let header: Vec<u8> = [request, flags, size]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        scene.survives("a bad header", |frontend| frontend.raw(&header));
    }
}

#[test]
fn messages_before_their_time_and_of_a_wrong_size() {
    let mut scene = Scene::new();
    for request in 0..=44 {
        for payload in [0, 4, 8, 16, 40, 300] {
            scene.survives_briefly(request, payload);
        }
    }
}

impl Scene {
    /// Sends one message in two states, without looking closely afterwards.
    fn survives_briefly(&mut self, request: u32, payload: usize) {
        for negotiated in [false, true] {
            let mut frontend = Frontend::new(self.daemon.connect(0));
            if negotiated {
                frontend.negotiate();
            }
            frontend.post(request, &vec![0xff; payload], &[]);
            frontend.post(1, &[], &[]);
        }
        if payload == 300 {
            self.survives(&format!("message {request}"), |_| {});
        }
    }
}

#[test]
fn memory_tables_that_lie() {
    let mut scene = Scene::new();
    let file = memfd(1 << 20);
    let good = Region {
        guest: 0,
        size: 1 << 20,
        user: 0x7000_0000_0000,
        offset: 0,
    };
    for (what, region) in [
        ("empty", Region { size: 0, ..good }),
        (
            "past the file's end",
            Region {
                size: 2 << 20,
                ..good
            },
        ),
        (
            "from past its end",
            Region {
                offset: 1 << 40,
                ..good
            },
        ),
        (
            "wrapping in the file",
            Region {
                offset: u64::MAX - 4095,
                ..good
            },
        ),
        (
            "wrapping in the guest",
            Region {
                guest: u64::MAX - 4095,
                ..good
            },
        ),
        (
            "wrapping in the VMM",
            Region {
                user: u64::MAX - 4095,
                ..good
            },
        ),
        (
            "everything",
            Region {
                size: u64::MAX,
                ..good
            },
        ),
        (
            "half of everything",
            Region {
                size: 1 << 63,
                ..good
            },
        ),
        (
            "misaligned",
            Region {
                guest: 1,
                offset: 1,
                size: 4097,
                ..good
            },
        ),
    ] {
        for by_table in [true, false] {
            scene.survives(what, |frontend| {
                frontend.negotiate();
                match by_table {
                    true => frontend.set_memory(&[region], &[file.as_fd()]),
                    false => frontend.add_memory(region, &[file.as_fd()]),
                }
                frontend.start_rings(region.user);
            });
        }
    }
    scene.survives("overlapping regions", |frontend| {
        frontend.negotiate();
        frontend.set_memory(&[good, good], &[file.as_fd(), file.as_fd()]);
        frontend.add_memory(good, &[file.as_fd()]);
        frontend.start_rings(good.user);
    });
    scene.survives("regions without descriptors", |frontend| {
        frontend.negotiate();
        frontend.set_memory(&[good, good], &[file.as_fd()]);
        frontend.add_memory(good, &[]);
    });
    scene.survives("a count that lies", |frontend| {
        frontend.negotiate();
        frontend.send(5, &[0xff; 8], &[file.as_fd()]);
    });
}

#[test]
fn descriptors_that_are_no_memory() {
    let mut scene = Scene::new();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let mut short = tempfile::tempfile().unwrap();
    short.write_all(b"short").unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let things: [(&str, OwnedFd); 6] = [
        ("a pipe", pipe.into()),
        ("a short file", short.into()),
        ("a socket", socket.into()),
        ("/dev/null", File::open("/dev/null").unwrap().into()),
        ("/dev/zero", File::open("/dev/zero").unwrap().into()),
        ("a directory", File::open("/").unwrap().into()),
    ];
    let region = Region {
        guest: 0,
        size: 1 << 20,
        user: 0x7000_0000_0000,
        offset: 0,
    };
    for (what, thing) in &things {
        scene.survives(what, |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[region], &[thing.as_fd()]);
            frontend.add_memory(region, &[thing.as_fd()]);
            frontend.start_rings(region.user);
            frontend.kick_by(thing.as_fd());
        });
    }
    scene.survives("more descriptors than a message has", |frontend| {
        let many = vec![things[3].1.as_fd(); 32];
        frontend.send(5, &[0; 40], &many);
    });
}

#[test]
fn too_many_regions() {
    let mut scene = Scene::new();
    let file = memfd(4096);
    scene.survives("a thousand regions", |frontend| {
        frontend.negotiate();
        for number in 0..1000 {
            let region = Region {
                guest: number * 4096,
                size: 4096,
                user: 0x7000_0000_0000 + number * 4096,
                offset: 0,
            };
            frontend.add_memory(region, &[file.as_fd()]);
        }
    });
}

#[test]
fn memory_that_is_taken_away_again() {
    let mut scene = Scene::new();
    let region = Region {
        guest: 0,
        size: 1 << 20,
        user: 0x7000_0000_0000,
        offset: 0,
    };
    scene.survives("a file that shrinks under the rings", |frontend| {
        let file = File::from(memfd(1 << 20));
        frontend.negotiate();
        frontend.set_memory(&[region], &[file.as_fd()]);
        let kick = frontend.start_rings(region.user);
        file.set_len(0).unwrap();
        rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
        // The ring's worker has looked when this is answered, or soon after.
        frontend.stop_rings();
    });
}

#[test]
fn rings_that_cannot_be() {
    let mut scene = Scene::new();
    let file = memfd(1 << 20);
    let region = Region {
        guest: 0,
        size: 1 << 20,
        user: 0x7000_0000_0000,
        offset: 0,
    };
    for (number, size, base, address) in [
        (0, 0, 0, region.user),
        (0, 3, 0, region.user),
        (0, 0x8000, 0, region.user),
        (0, u32::MAX, 0, region.user),
        (0, 256, u32::MAX, region.user),
        (200, 256, 0, region.user),
        (u32::MAX, 256, 0, region.user),
        (0, 256, 0, 0),
        (0, 256, 0, region.user + (1 << 20) - 16),
        (0, 256, 0, u64::MAX - 15),
        (0, 256, 0, region.user + 1),
    ] {
        scene.survives("a bad ring", |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[region], &[file.as_fd()]);
            let kick = frontend.start_ring(number, size, base, address);
            rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
            frontend.stop_rings();
        });
    }
}
