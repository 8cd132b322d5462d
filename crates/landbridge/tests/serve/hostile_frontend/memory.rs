//! Memory that is not what it is said to be.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Scene;
use super::frontend::{Frontend, Region, loose, sealed};

const SIZE: u64 = 1 << 20;

const GOOD: Region = Region {
    guest: 0,
    size: SIZE,
    user: 0x7000_0000_0000,
    offset: 0,
};

/// Memory at `number` times the size, for the guest and for the VMM.
fn region(number: u64) -> Region {
    Region {
        guest: number * SIZE,
        user: GOOD.user + number * SIZE,
        ..GOOD
    }
}

/// Regions that can't be, of a file that is as good as any.
fn lies() -> Vec<(&'static str, Region)> {
    let good = GOOD;
    let wrap = u64::MAX - 4095;
    vec![
        ("empty", Region { size: 0, ..good }),
        (
            "past the file's end",
            Region {
                size: 2 * SIZE,
                ..good
            },
        ),
        (
            "a byte past its end",
            Region {
                size: SIZE + 1,
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
            "partly past its end",
            Region {
                offset: 4096,
                ..good
            },
        ),
        (
            "wrapping in the file",
            Region {
                offset: wrap,
                ..good
            },
        ),
        (
            "wrapping in the guest",
            Region {
                guest: wrap,
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
            "misaligned in the file",
            Region {
                offset: 1,
                size: 4096,
                ..good
            },
        ),
    ]
}

#[test]
fn memory_tables_that_lie() {
    let mut scene = Scene::new();
    let file = sealed(SIZE);
    for (what, region) in lies() {
        scene.refuses(what, "", |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[region], &[file.as_fd()]);
        });
        scene.refuses(what, "", |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[self::region(9)], &[file.as_fd()]);
            frontend.add_memory(region, &[file.as_fd()]);
        });
    }
}

/// Where memory is for the VMM only matters once rings are looked for in it.
#[test]
fn memory_that_wraps_in_the_vmm() {
    let mut scene = Scene::new();
    let file = sealed(SIZE);
    let wrapping = Region {
        user: u64::MAX - 4095,
        ..GOOD
    };
    for ring in [wrapping.user, 0, GOOD.user] {
        scene.survives("memory that wraps in the VMM", |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[wrapping], &[file.as_fd()]);
            frontend.start_rings(ring);
            assert!(frontend.is_hung_up());
        });
    }
}

#[test]
fn regions_that_don_t_fit_together() {
    let mut scene = Scene::new();
    let file = sealed(SIZE);
    let half = Region {
        guest: SIZE / 2,
        ..GOOD
    };
    for other in [GOOD, half] {
        scene.refuses("overlapping regions", "intersect", |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[GOOD, other], &[file.as_fd(), file.as_fd()]);
        });
        scene.refuses("a region over another", "intersect", |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[GOOD], &[file.as_fd()]);
            frontend.add_memory(other, &[file.as_fd()]);
        });
    }
    scene.refuses("regions without descriptors", "descriptors", |frontend| {
        frontend.negotiate();
        frontend.set_memory(&[GOOD, region(1)], &[file.as_fd()]);
    });
    scene.refuses("a region without a descriptor", "", |frontend| {
        frontend.negotiate();
        frontend.add_memory(GOOD, &[]);
    });
    scene.refuses("a region with two", "", |frontend| {
        frontend.negotiate();
        frontend.add_memory(GOOD, &[file.as_fd(), file.as_fd()]);
    });
    scene.refuses("a count that lies", "", |frontend| {
        frontend.negotiate();
        frontend.send(5, &[0xff; 8], &[file.as_fd()]);
    });
    scene.refuses("the removal of what is not there", "", |frontend| {
        frontend.negotiate();
        frontend.set_memory(&[GOOD], &[file.as_fd()]);
        frontend.remove_memory(region(3));
    });
}

#[test]
fn descriptors_that_are_no_memory() {
    let mut scene = Scene::new();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(SIZE).unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let things: [(&str, &str, OwnedFd); 7] = [
        ("memory that can shrink", "can shrink", loose(SIZE)),
        ("a file on a disk", "can shrink", file.into()),
        ("a pipe", "", pipe.into()),
        ("a socket", "", socket.into()),
        ("/dev/null", "", File::open("/dev/null").unwrap().into()),
        ("/dev/zero", "", File::open("/dev/zero").unwrap().into()),
        ("a directory", "", File::open("/").unwrap().into()),
    ];
    let firm = sealed(SIZE);
    for (what, why, thing) in &things {
        scene.refuses(what, why, |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[GOOD], &[thing.as_fd()]);
        });
        scene.refuses(what, why, |frontend| {
            frontend.negotiate();
            frontend.set_memory(&[GOOD], &[firm.as_fd()]);
            frontend.start_rings(GOOD.user);
            frontend.add_memory(region(1), &[thing.as_fd()]);
        });
    }
}

#[test]
fn too_many_regions() {
    let mut scene = Scene::new();
    let file = sealed(SIZE);
    scene.refuses("a thousand regions", "memory regions", |frontend| {
        frontend.negotiate();
        for number in 0..1000 {
            frontend.add_memory(region(number), &[file.as_fd()]);
        }
    });
}

#[test]
fn memory_that_comes_and_goes_under_the_rings() {
    let mut scene = Scene::new();
    let file = sealed(SIZE);
    scene.survives("memory taken away", |frontend| {
        frontend.negotiate();
        frontend.set_memory(&[GOOD], &[file.as_fd()]);
        let kick = frontend.start_rings(GOOD.user);
        for _ in 0..100 {
            frontend.remove_memory(GOOD);
            rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
            frontend.add_memory(GOOD, &[file.as_fd()]);
            rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
        }
        frontend.stop_rings();
    });
}

/// How often the next test tries its luck. Where the queues saw memory before
/// it was looked at, the program died of SIGBUS within a few tries.
const RACES: usize = 30;

/// Rings that are used without pause, and other memory in the place of theirs,
/// which shrinks in the moment in which it is announced.
#[test]
fn memory_that_shrinks_while_it_is_announced() {
    let mut scene = Scene::new();
    let firm = sealed(SIZE);
    let shrinking = File::from(loose(SIZE));
    // Those before it are good, and looked at first.
    let regions: Vec<Region> = (0..31).map(region).collect();
    let rings = regions[30];
    let mut files = vec![firm.as_fd(); 30];
    files.push(shrinking.as_fd());
    for _ in 0..RACES {
        let mut frontend = Frontend::new(scene.daemon.connect(0));
        frontend.negotiate();
        frontend.set_memory(&[rings], &[firm.as_fd()]);
        let kick = frontend.start_rings(rings.user);
        let racing = AtomicBool::new(true);
        let race = |once: &dyn Fn()| {
            while racing.load(Ordering::Relaxed) {
                once();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                race(&|| {
                    let _ = rustix::io::write(&kick, &1u64.to_ne_bytes());
                });
            });
            scope.spawn(|| {
                race(&|| {
                    shrinking.set_len(SIZE).unwrap();
                    shrinking.set_len(0).unwrap();
                });
            });
            frontend.set_memory(&regions, &files);
            assert!(frontend.is_hung_up());
            racing.store(false, Ordering::Relaxed);
        });
        assert!(scene.daemon.is_alive());
    }
    scene.survives("the races", |_| {});
}
