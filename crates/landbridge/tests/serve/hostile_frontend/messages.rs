//! Messages that are none, or not what they say.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Scene;
use super::frontend::{FLAGS, Frontend, eventfd, message, sealed};

/// A message as the protocol has it: its payload in bytes and how many
/// descriptors go with it.
#[derive(Clone, Copy)]
struct Kind {
    request: u32,
    payload: usize,
    descriptors: usize,
}

const fn kind(request: u32, payload: usize, descriptors: usize) -> Kind {
    Kind {
        request,
        payload,
        descriptors,
    }
}

/// Those that our features make possible. Left out: what is answered whatever
/// its size (`GET_SHMEM_CONFIG`, `CHECK_DEVICE_STATE`).
const KINDS: [Kind; 23] = [
    kind(1, 0, 0),   // GET_FEATURES
    kind(2, 8, 0),   // SET_FEATURES
    kind(3, 0, 0),   // SET_OWNER
    kind(4, 0, 0),   // RESET_OWNER
    kind(5, 40, 1),  // SET_MEM_TABLE
    kind(8, 8, 0),   // SET_VRING_NUM
    kind(9, 40, 0),  // SET_VRING_ADDR
    kind(10, 8, 0),  // SET_VRING_BASE
    kind(11, 8, 0),  // GET_VRING_BASE
    kind(12, 8, 1),  // SET_VRING_KICK
    kind(13, 8, 1),  // SET_VRING_CALL
    kind(14, 8, 1),  // SET_VRING_ERR
    kind(15, 0, 0),  // GET_PROTOCOL_FEATURES
    kind(16, 8, 0),  // SET_PROTOCOL_FEATURES
    kind(17, 0, 0),  // GET_QUEUE_NUM
    kind(18, 8, 0),  // SET_VRING_ENABLE
    kind(21, 0, 1),  // SET_BACKEND_REQ_FD
    kind(24, 36, 0), // GET_CONFIG
    kind(25, 36, 0), // SET_CONFIG
    kind(34, 0, 0),  // RESET_DEVICE
    kind(36, 0, 0),  // GET_MAX_MEM_SLOTS
    kind(37, 40, 1), // ADD_MEM_REG
    kind(38, 40, 0), // REM_MEM_REG
];

/// The greatest payload that the protocol allows.
const LARGEST: usize = 4096;

impl Scene {
    /// Lets `attack` loose once and waits until the program hangs up.
    fn hangs_up(&mut self, what: &str, attack: impl FnOnce(&mut Frontend)) {
        let mut frontend = Frontend::new(self.daemon.connect(0));
        frontend.negotiate();
        attack(&mut frontend);
        assert!(frontend.is_hung_up(), "{what}: it goes on");
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
        (5, 1, LARGEST as u32 + 1),
    ] {
        let header: Vec<u8> = [request, flags, size]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        scene.refuses("a bad header", "a message that", |frontend| {
            frontend.raw(&header);
        });
    }
}

#[test]
fn every_message_with_a_wrong_size_or_wrong_flags() {
    let mut scene = Scene::new();
    for kind in KINDS {
        let what = format!("message {}", kind.request);
        let files: Vec<OwnedFd> = (0..kind.descriptors).map(|_| eventfd()).collect();
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let sizes = [kind.payload.wrapping_sub(1), kind.payload + 1, LARGEST];
        for size in sizes.into_iter().filter(|size| *size <= LARGEST) {
            scene.hangs_up(&format!("{what} with {size} bytes"), |frontend| {
                frontend.post(kind.request, &vec![0; size], &files);
            });
        }
        // No version, another version, an answer, a bit that means nothing.
        for flags in [0, 2, 3, 1 | 0x10, 1 | 1 << 31] {
            let bytes = message(kind.request, flags, &vec![0; kind.payload]);
            scene.hangs_up(&format!("{what} with flags {flags:#x}"), |frontend| {
                frontend.raw_with(&bytes, &files);
            });
        }
        scene.survives(&what, |_| {});
    }
}

#[test]
fn every_message_with_a_wrong_number_of_descriptors() {
    let mut scene = Scene::new();
    let event = eventfd();
    // REM_MEM_REG may have one: older VMMs sent it.
    for kind in KINDS.into_iter().filter(|kind| kind.request != 38) {
        let what = format!("message {}", kind.request);
        // As many as a message can have.
        for count in [0, 1, 2, 32] {
            if count == kind.descriptors {
                continue;
            }
            let files = vec![event.as_fd(); count];
            scene.hangs_up(&format!("{what} with {count} descriptors"), |frontend| {
                let mut payload = vec![0; kind.payload];
                if kind.request == 5 {
                    payload[0] = 1;
                }
                frontend.post(kind.request, &payload, &files);
            });
        }
        // More: they are closed, and the message counts as not sent.
        scene.survives(&format!("{what} with far too many"), |frontend| {
            frontend.negotiate();
            for count in [33, 64] {
                let files = vec![event.as_fd(); count];
                frontend.post(kind.request, &vec![0; kind.payload], &files);
            }
        });
    }
}

#[test]
fn messages_before_their_time_and_of_features_that_were_not_offered() {
    let mut scene = Scene::new();
    for request in 0..=50 {
        for payload in [0, 8, 16, 40, 300] {
            for features in [None, Some(0), Some(u64::MAX)] {
                let mut frontend = Frontend::new(scene.daemon.connect(0));
                if let Some(features) = features {
                    frontend.negotiate();
                    frontend.post(16, &u64::to_le_bytes(features), &[]);
                }
                frontend.post(request, &vec![0xff; payload], &[]);
                frontend.post(1, &[], &[]);
            }
        }
    }
    scene.survives("all of them", |_| {});
}

#[test]
fn a_configuration_out_of_bounds() {
    let mut scene = Scene::new();
    let ask = |offset: u32, size: u32, payload: usize| {
        let head = [offset, size, 0].into_iter().flat_map(u32::to_le_bytes);
        head.chain(std::iter::repeat_n(0, payload))
            .collect::<Vec<u8>>()
    };
    for request in [24, 25] {
        for (offset, size, payload) in [
            (0, 0, 0),
            (0, 24, 0),
            (0, 24, 23),
            (0, 24, 25),
            (0, u32::MAX, 24),
            (u32::MAX, 24, 24),
            (u32::MAX - 8, 24, 24),
            (0x1000, 1, 1),
            (0x0fff, 2, 2),
        ] {
            let what = format!("message {request} for {size} at {offset}");
            scene.hangs_up(&what, |frontend| {
                frontend.post(request, &ask(offset, size, payload), &[]);
            });
        }
        // Beyond our end, but in bounds: nothing to read, nothing to write.
        scene.survives("a configuration beyond its end", |frontend| {
            frontend.negotiate();
            frontend.send(request, &ask(24, 200, 200), &[]);
            frontend.send(request, &ask(0, 256, 256), &[]);
        });
    }
}

/// One message of a good session.
struct Step {
    bytes: Vec<u8>,
    files: Vec<OwnedFd>,
}

/// What a VMM sends until its guest can use the first queue, and then some.
fn session() -> Vec<Step> {
    let step = |request, payload: &[u8], files: Vec<OwnedFd>| Step {
        bytes: message(request, FLAGS, payload),
        files,
    };
    let words = |words: &[u64]| -> Vec<u8> {
        let words = words.iter();
        words.flat_map(|word| word.to_le_bytes()).collect()
    };
    let user = 0x7000_0000_0000;
    let (channel, _) = std::os::unix::net::UnixStream::pair().unwrap();
    let region = [0, 1 << 20, user, 0];
    vec![
        step(1, &[], vec![]),
        step(3, &[], vec![]),
        step(2, &words(&[1 << 32 | 1 << 30]), vec![]),
        step(16, &words(&[0x40_a629]), vec![]),
        step(21, &[], vec![channel.into()]),
        step(
            5,
            &words(&[&[1], region.as_slice()].concat()),
            vec![sealed(1 << 20)],
        ),
        step(8, &words(&[256 << 32]), vec![]),
        step(10, &words(&[0]), vec![]),
        step(
            9,
            &words(&[0, user, user + 0x4000, user + 0x2000, 0]),
            vec![],
        ),
        step(13, &words(&[0]), vec![eventfd()]),
        step(12, &words(&[0]), vec![eventfd()]),
        step(18, &words(&[1 << 32]), vec![]),
        step(24, &[words(&[24 << 32, 0]), vec![0; 20]].concat(), vec![]),
        step(11, &words(&[0]), vec![]),
    ]
}

#[test]
fn vmms_that_hang_up_at_every_byte() {
    let mut scene = Scene::new();
    // All of it is good.
    scene.survives("a whole session", |frontend| {
        for step in session() {
            let files: Vec<BorrowedFd<'_>> = step.files.iter().map(AsFd::as_fd).collect();
            assert!(frontend.raw_with(&step.bytes, &files));
        }
    });
    assert_eq!(scene.daemon.status().devices[0].last_error, None);
    let before = scene.daemon.descriptors();
    let total: usize = session().iter().map(|step| step.bytes.len()).sum();
    for cut in 0..total {
        let mut frontend = Frontend::new(scene.daemon.connect(0));
        let mut left = cut;
        for step in session() {
            let files: Vec<BorrowedFd<'_>> = step.files.iter().map(AsFd::as_fd).collect();
            let now = left.min(step.bytes.len());
            if now > 0 {
                frontend.raw_with(&step.bytes[..now], &files);
            }
            left -= now;
        }
    }
    scene.daemon.wait_until_idle(0);
    scene.daemon.wait_for_descriptors(&before);
    scene.survives("all of them", |_| {});
}
